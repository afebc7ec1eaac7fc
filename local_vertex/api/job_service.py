"""JobService: custom jobs from creation to deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.cloud import aiplatform_v1
from google.protobuf import empty_pb2

from local_vertex.api.custom_jobs import CUSTOM_JOB, STATES
from local_vertex.api.field_behavior import clear_output_only
from local_vertex.api.listing import page_of
from local_vertex.api.messages import first_set, set_time
from local_vertex.domain.errors import (
    FailedPrecondition,
    InvalidArgument,
    Unimplemented,
)
from local_vertex.domain.names import CustomJobName, check_gcs_uri
from local_vertex.domain.states import TERMINAL_RUN_STATES, RunState
from local_vertex.run.ports import SEVEN_DAYS, ContainerSpec, CustomRun

if TYPE_CHECKING:
    from local_vertex.api.custom_jobs import CustomJobs
    from local_vertex.api.messages import Message
    from local_vertex.api.operations import Operations
    from local_vertex.api.region import Region
    from local_vertex.domain.records import Failure
    from local_vertex.run.ports import CustomJobRunner

_UNSUPPORTED = (
    "persistent_resource_id",
    "psc_interface_config",
    "tensorboard",
    "enable_web_access",
    "enable_dashboard_access",
    "experiment",
    "experiment_run",
    "models",
)


class JobService:
    """Answers google.cloud.aiplatform.v1.JobService, as far as custom jobs go.

    The time-out of a job's scheduling ends it. Machine, disk, service account and network are kept; on this
    machine they have no effect.
    """

    def __init__(
        self, region: Region, jobs: CustomJobs, operations: Operations, runner: CustomJobRunner
    ) -> None:
        self._region = region
        self._jobs = jobs
        self._operations = operations
        self._runner = runner

    def create_custom_job(self, request: Message) -> Message:
        """Answer CreateCustomJob: check at the door, keep, start; the server chooses the id."""
        parent = self._region.parent(request.parent)
        job = self._new_job(request.custom_job, parent)
        accepted = self._runner.accept(self._run(job))
        self._jobs.insert(job, parent)
        try:
            self._runner.start(accepted)
        except Exception:
            self._jobs.delete(job.name)
            raise
        return self._jobs.get(job.name)

    def _new_job(self, asked: Message, parent: str) -> Message:
        job = CUSTOM_JOB()
        job.CopyFrom(asked)
        clear_output_only(job)
        _check(job)
        job.name = f"{parent}/customJobs/{self._region.new_id()}"
        job.state = STATES.to_wire(RunState.PENDING)
        now = self._region.clock()
        set_time(job.create_time, now)
        set_time(job.update_time, now)
        return job

    def _run(self, job: Message) -> CustomRun:
        container = job.job_spec.worker_pool_specs[0].container_spec
        return CustomRun(
            name=job.name,
            project=self._region.project.id,
            project_number=self._region.project.number,
            location=self._region.project.region,
            container=ContainerSpec(
                image=container.image_uri,
                command=tuple(container.command),
                args=tuple(container.args),
                env={each.name: each.value for each in container.env},
            ),
            output_directory=job.job_spec.base_output_directory.output_uri_prefix,
            timeout=job.job_spec.scheduling.timeout.ToTimedelta().total_seconds() or SEVEN_DAYS,
        )

    def get_custom_job(self, request: Message) -> Message:
        """Answer GetCustomJob."""
        return self._jobs.get(self._name(request.name))

    def list_custom_jobs(self, request: Message) -> Message:
        """Answer ListCustomJobs, the newest first."""
        jobs = self._jobs.earlier(self._region.parent(request.parent), age=self._region.lags.lists)
        page = page_of(jobs, request, CUSTOM_JOB)
        return aiplatform_v1.ListCustomJobsResponse.pb()(
            custom_jobs=page.items, next_page_token=page.next_page_token
        )

    def cancel_custom_job(self, request: Message) -> Message:
        """Answer CancelCustomJob; a job that has ended cannot be cancelled."""
        job = self._jobs.get(self._name(request.name))
        if STATES.of(job) in TERMINAL_RUN_STATES:
            raise FailedPrecondition(
                f"custom job '{job.name}' has ended ({STATES.of(job)}); it cannot be cancelled"
            )
        self._runner.cancel(job.name)
        return empty_pb2.Empty()

    def delete_custom_job(self, request: Message) -> Message:
        """Answer DeleteCustomJob; a job must have ended."""
        with self._region.store.transaction():
            job = self._jobs.get(self._name(request.name))
            if STATES.of(job) not in TERMINAL_RUN_STATES:
                raise FailedPrecondition(
                    f"custom job '{job.name}' is {STATES.of(job)}; cancel it and wait before deleting it"
                )
            self._jobs.delete(job.name)
            return self._operations.deleted(str(self._region.project.location))

    def recover(self) -> None:
        """Start the jobs again that the end of the last server cut off."""
        STATES.recover(self._jobs.all(), start=self._start_again, end=self._end)

    def _start_again(self, job: Message) -> None:
        self._runner.start(self._runner.accept(self._run(job)))

    def _end(self, name: str, state: RunState, error: Failure | None) -> None:
        self._jobs.job_changed(name, state, at=self._region.clock(), error=error, log_path=None)

    def _name(self, text: str) -> str:
        return str(CustomJobName.parse(self._region.canonical(text)))


def _check(job: Message) -> None:
    spec = job.job_spec
    unsupported = first_set(spec, _UNSUPPORTED)
    if unsupported:
        raise Unimplemented(f"job_spec.{unsupported} is not supported by the local Vertex AI; leave it out")
    if spec.base_output_directory.output_uri_prefix:
        check_gcs_uri("job_spec.base_output_directory", spec.base_output_directory.output_uri_prefix)
    if spec.scheduling.timeout.ToNanoseconds() < 0:
        raise InvalidArgument.of("job_spec.scheduling.timeout", "it is negative; 0 means seven days")
    if len(spec.worker_pool_specs) > 1:
        raise Unimplemented(
            f"{len(spec.worker_pool_specs)} worker pools: the local Vertex AI runs one; leave out the others"
        )
    _check_pool(spec.worker_pool_specs[0])


def _check_pool(pool: Message) -> None:
    if pool.replica_count > 1:
        raise Unimplemented(
            f"{pool.replica_count} replicas: the local Vertex AI runs one; set replica_count to 1"
        )
    if pool.HasField("python_package_spec"):
        raise Unimplemented("python_package_spec is not supported by the local Vertex AI; use container_spec")
    if not pool.container_spec.image_uri:
        raise InvalidArgument.of("job_spec.worker_pool_specs[0].container_spec.image_uri", "required")
