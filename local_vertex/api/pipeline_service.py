"""PipelineService: pipeline jobs from creation to deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.cloud import aiplatform_v1
from google.protobuf import empty_pb2

from local_vertex.api.field_behavior import clear_output_only
from local_vertex.api.listing import page_of
from local_vertex.api.messages import (
    first_set,
    plain,
    set_time,
)
from local_vertex.api.pipeline_jobs import JOB, STATES, pipeline_name
from local_vertex.domain.errors import (
    FailedPrecondition,
    InvalidArgument,
    Unimplemented,
)
from local_vertex.domain.names import PipelineJobName, check_gcs_uri
from local_vertex.domain.states import EXECUTED_TASK_STATES, TERMINAL_RUN_STATES, RunState
from local_vertex.run.ports import PipelineRun

if TYPE_CHECKING:
    from local_vertex.api.messages import Message
    from local_vertex.api.operations import Operations
    from local_vertex.api.pipeline_jobs import PipelineJobs
    from local_vertex.api.region import Region
    from local_vertex.domain.records import Failure
    from local_vertex.run.ports import PipelineEngine

_UNSUPPORTED = ("template_uri", "encryption_spec", "psc_interface_config", "preflight_validations")


class PipelineService:
    """Answers google.cloud.aiplatform.v1.PipelineService, as far as pipeline jobs go.

    Service account, network and IP ranges of a job are kept; on this machine they have no effect.
    """

    def __init__(
        self, region: Region, jobs: PipelineJobs, operations: Operations, engine: PipelineEngine
    ) -> None:
        self._region = region
        self._jobs = jobs
        self._operations = operations
        self._engine = engine

    def create_pipeline_job(self, request: Message) -> Message:
        """Answer CreatePipelineJob: check at the door, keep, start."""
        parent = self._region.parent(request.parent)
        job = self._new_job(request, parent)
        accepted = self._engine.accept(self._run(job))
        self._jobs.insert(job, parent)
        try:
            self._engine.start(accepted)
        except Exception:
            self._jobs.delete(job.name)
            raise
        return self._jobs.get(job.name)

    def _new_job(self, request: Message, parent: str) -> Message:
        job = JOB()
        job.CopyFrom(request.pipeline_job)
        clear_output_only(job)
        _check(job)
        job.name = f"{parent}/pipelineJobs/{request.pipeline_job_id or self._region.new_id()}"
        job.display_name = job.display_name or pipeline_name(job)
        job.state = STATES.to_wire(RunState.PENDING)
        now = self._region.clock()
        set_time(job.create_time, now)
        set_time(job.update_time, now)
        return job

    def _run(self, job: Message) -> PipelineRun:
        name = PipelineJobName.parse(job.name)
        runtime = job.runtime_config
        fail_fast = aiplatform_v1.PipelineFailurePolicy.PIPELINE_FAILURE_POLICY_FAIL_FAST
        return PipelineRun(
            name=job.name,
            job_id=name.id,
            project=self._region.project.id,
            project_number=self._region.project.number,
            location=self._region.project.region,
            spec=plain(job.pipeline_spec),
            parameter_values=_parameter_values(runtime),
            output_directory=runtime.gcs_output_directory or _default_root(job),
            fail_fast=runtime.failure_policy == fail_fast,
            create_time=job.create_time.ToDatetime(tzinfo=self._region.clock().tzinfo),
            finished=tuple(task for task in self._jobs.tasks(job.name) if task.state in EXECUTED_TASK_STATES),
        )

    def get_pipeline_job(self, request: Message) -> Message:
        """Answer GetPipelineJob."""
        return self._jobs.get(self._name(request.name))

    def list_pipeline_jobs(self, request: Message) -> Message:
        """Answer ListPipelineJobs, the newest first unless ordered otherwise; without task details."""
        jobs = self._jobs.listed(self._region.parent(request.parent))
        page = page_of(jobs, request, JOB, virtual={"pipeline_name": pipeline_name})
        return aiplatform_v1.ListPipelineJobsResponse.pb()(
            pipeline_jobs=page.items, next_page_token=page.next_page_token
        )

    def cancel_pipeline_job(self, request: Message) -> Message:
        """Answer CancelPipelineJob; a job that has ended cannot be cancelled."""
        self._cancel(self._name(request.name))
        return empty_pb2.Empty()

    def delete_pipeline_job(self, request: Message) -> Message:
        """Answer DeletePipelineJob; a job must have ended."""
        name = self._name(request.name)
        with self._region.store.transaction():
            self._delete(name)
            return self._operations.deleted(str(PipelineJobName.parse(name).parent))

    def batch_cancel_pipeline_jobs(self, request: Message) -> Message:
        """Answer BatchCancelPipelineJobs: all or, if one cannot be cancelled, none."""
        jobs = [self._jobs.get(self._name(name)) for name in request.names]
        for job in jobs:
            _check_running(job)
        for job in jobs:
            self._engine.cancel(job.name)
        response = aiplatform_v1.BatchCancelPipelineJobsResponse.pb()(
            pipeline_jobs=[self._jobs.get(job.name) for job in jobs]
        )
        metadata = aiplatform_v1.BatchCancelPipelineJobsOperationMetadata.pb()()
        return self._operations.finished(self._region.parent(request.parent), metadata, response)

    def batch_delete_pipeline_jobs(self, request: Message) -> Message:
        """Answer BatchDeletePipelineJobs: all or none."""
        with self._region.store.transaction():
            jobs = [self._jobs.get(self._name(name)) for name in request.names]
            for job in jobs:
                self._delete(job.name)
            response = aiplatform_v1.BatchDeletePipelineJobsResponse.pb()(pipeline_jobs=jobs)
            metadata = aiplatform_v1.DeleteOperationMetadata.pb()()
            return self._operations.finished(self._region.parent(request.parent), metadata, response)

    def recover(self) -> None:
        """Hand the jobs that the end of the last server cut off to the engine again."""
        STATES.recover(self._jobs.all(), start=self._start_again, end=self._end)

    def _start_again(self, job: Message) -> None:
        self._engine.start(self._engine.accept(self._run(job)))

    def _end(self, name: str, state: RunState, error: Failure | None) -> None:
        self._jobs.run_changed(name, state, at=self._region.clock(), error=error)

    def _name(self, text: str) -> str:
        return str(PipelineJobName.parse(self._region.canonical(text)))

    def _cancel(self, name: str) -> None:
        _check_running(self._jobs.get(name))
        self._engine.cancel(name)

    def _delete(self, name: str) -> None:
        state = STATES.of(self._jobs.get(name))
        if state not in TERMINAL_RUN_STATES:
            raise FailedPrecondition(
                f"pipeline job '{name}' is {state}; cancel it and wait before deleting it"
            )
        self._jobs.delete(name)


def _check_running(job: Message) -> None:
    state = STATES.of(job)
    if state in TERMINAL_RUN_STATES:
        raise FailedPrecondition(f"pipeline job '{job.name}' has ended ({state}); it cannot be cancelled")


def _check(job: Message) -> None:
    unsupported = first_set(job, _UNSUPPORTED)
    if unsupported:
        raise Unimplemented(
            f"pipeline_job.{unsupported} is not supported by the local Vertex AI; leave it out"
        )
    if job.runtime_config.input_artifacts:
        raise Unimplemented(
            "pipeline_job.runtime_config.input_artifacts is not supported by the local Vertex AI; "
            "bring the artifact in by an importer"
        )
    if not job.pipeline_spec.fields:
        raise InvalidArgument.of("pipeline_job.pipeline_spec", "required; give a compiled PipelineSpec")
    check_gcs_uri(
        "pipeline_job.runtime_config.gcs_output_directory",
        job.runtime_config.gcs_output_directory or _default_root(job),
    )


def _default_root(job: Message) -> str:
    fields = job.pipeline_spec.fields
    return str(fields["defaultPipelineRoot"].string_value) if "defaultPipelineRoot" in fields else ""


def _parameter_values(runtime: Message) -> dict[str, Any]:
    """Return the run's parameters: `parameters` (schema 2.0), then `parameter_values` (2.1)."""
    values = {name: _typed_value(value) for name, value in runtime.parameters.items()}
    return values | {name: plain(value) for name, value in runtime.parameter_values.items()}


def _typed_value(value: Message) -> int | float | str:
    kind = value.WhichOneof("value")
    return "" if kind is None else getattr(value, kind)
