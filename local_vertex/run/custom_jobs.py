"""Runs custom jobs: one container each, at most a few at once."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import TYPE_CHECKING

from local_vertex.domain.clock import utc_now
from local_vertex.domain.errors import AlreadyExists, Code, Unavailable, Unimplemented
from local_vertex.domain.records import Failure
from local_vertex.domain.states import TERMINAL_RUN_STATES, RunState
from local_vertex.run.containers import CancelledError, CancelToken, ContainerLostError, Launch
from local_vertex.run.ports import AcceptedJob
from local_vertex.run.root_cause import explain_exit

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from local_vertex.run.containers import Containers
    from local_vertex.run.ports import ContainerSpec, CustomRun, EngineSettings, JobListener

_UNSAFE = re.compile(r"[^\w.-]")


def container_argv(container: ContainerSpec) -> tuple[str, ...]:
    """Return the command line of `container`; raises Unimplemented when it relies on the image's own."""
    if not container.command:
        raise Unimplemented(
            f"the container has no command, and the entrypoint of image '{container.image}' is not known on "
            "this machine; set its command"
        )
    return (*container.command, *container.args)


@dataclass(slots=True, kw_only=True)
class _Job:
    """A job under way; `ended` once its final state was reported."""

    run: CustomRun
    argv: tuple[str, ...]
    token: CancelToken
    log_path: Path
    reporting: Lock = field(default_factory=Lock)
    ended: bool = False


class LocalCustomJobRunner:
    """Runs the container of worker pool 0 of each job as a process on this machine."""

    def __init__(
        self,
        *,
        settings: EngineSettings,
        listener: JobListener,
        containers: Containers,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._containers = containers
        self._clock = clock
        self._pool = ThreadPoolExecutor(max_workers=settings.cores, thread_name_prefix="custom job")
        self._jobs: dict[str, _Job] = {}
        self._lock = Lock()
        self._closed = False

    def accept(self, run: CustomRun) -> AcceptedJob:
        """Check `run`, starting nothing; raises InvalidArgument for an unknown image, and Unimplemented."""
        self._containers.images.rule(run.container.image)
        return AcceptedJob(run=run, argv=container_argv(run.container))

    def start(self, accepted: AcceptedJob) -> None:
        """Start a job and return at once; raises AlreadyExists while it runs, Unavailable after `close`."""
        run = accepted.run
        folder = self._settings.state_dir / "jobs" / _UNSAFE.sub("_", run.name.rpartition("/")[2])
        token = CancelToken(self._settings.stop_grace)
        job = _Job(run=run, argv=accepted.argv, token=token, log_path=folder / "log.txt")
        with self._lock:
            if self._closed:
                raise Unavailable("the local Vertex AI is shutting down; start it again")
            if run.name in self._jobs:
                raise AlreadyExists(f"'{run.name}' is running")
            self._jobs[run.name] = job
        self._pool.submit(self._execute, job)

    def _execute(self, job: _Job) -> None:
        try:
            job.token.check()
            self._report(job, RunState.RUNNING, None)
            failure = self._run(job)
            self._report(job, RunState.FAILED if failure else RunState.SUCCEEDED, failure)
        except CancelledError:
            cancelled = Failure(code=Code.CANCELLED, message="The custom job was cancelled.")
            self._report(job, RunState.CANCELLED, cancelled)
        except Exception as error:  # noqa: BLE001  # the boundary of a job
            message = f"internal error of the local Vertex AI: {error!r}"
            self._report(job, RunState.FAILED, Failure(code=Code.INTERNAL, message=message))
        finally:
            with self._lock:
                self._jobs.pop(job.run.name, None)

    def _run(self, job: _Job) -> Failure | None:
        image, images = job.run.container.image, self._containers.images
        environment = {**_vertex_environment(job.run), **job.run.container.env}
        launch = Launch.of(images, image, job.argv, environment, job.log_path)
        try:
            code = self._exit_code(job, launch)
        except TimeoutError:
            message = f"The custom job did not end within its time limit of {job.run.timeout:g} s."
            return Failure(code=Code.DEADLINE_EXCEEDED, message=f"{message} Log: {job.log_path}")
        job.token.check()
        if code == 0:
            return None
        cause = explain_exit(code, job.log_path)
        return Failure(
            code=Code.FAILED_PRECONDITION,
            message=f"The replica workerpool0-0 failed: {cause}; log: {job.log_path}",
        )

    def _exit_code(self, job: _Job, launch: Launch) -> int:
        """Run the container, again by the reference if the launcher loses it; raises TimeoutError."""
        try:
            return job.token.run(self._containers.launcher, launch, seconds=job.run.timeout)
        except ContainerLostError:
            return job.token.run(self._containers.reference, launch, seconds=job.run.timeout)

    def cancel(self, name: str) -> None:
        """Stop the job without waiting for its end; no-op when it has ended."""
        with self._lock:
            job = self._jobs.get(name)
        if job:
            # In a thread of its own: a container may take its grace, and callers do not wait for that.
            Thread(target=self._cancel, args=(job,), name=f"cancel {name}", daemon=True).start()

    def _cancel(self, job: _Job) -> None:
        self._report(job, RunState.CANCELLING, None)
        job.token.cancel()

    def close(self) -> None:
        """Stop everything; jobs that are cut off are not reported, and begin again after a restart."""
        with self._lock:
            self._closed = True
            jobs = tuple(self._jobs.values())
        for job in jobs:
            job.token.cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _report(self, job: _Job, state: RunState, failure: Failure | None) -> None:
        # A cancellation may race with the end: nothing follows a final state. What `close` cuts off keeps
        # the state in the store from which the next server starts it again.
        with job.reporting:
            if self._closed or job.ended:
                return
            self._listener.job_changed(
                job.run.name, state, at=self._clock(), error=failure, log_path=job.log_path
            )
            job.ended = state in TERMINAL_RUN_STATES


def _vertex_environment(run: CustomRun) -> dict[str, str]:
    """Return the variables that Vertex AI sets in a training container.

    https://cloud.google.com/vertex-ai/docs/training/code-requirements#environment-variables
    """
    environment = {
        "CLOUD_ML_PROJECT_ID": run.project_number,
        "CLOUD_ML_REGION": run.location,
        "CLOUD_ML_JOB_ID": run.name.rpartition("/")[2],
        "AIP_PROJECT_NUMBER": run.project_number,
        "GOOGLE_CLOUD_PROJECT": run.project,
    }
    if run.output_directory:
        root = run.output_directory.rstrip("/")
        environment |= {
            "AIP_MODEL_DIR": f"{root}/model/",
            "AIP_CHECKPOINT_DIR": f"{root}/checkpoints/",
            "AIP_TENSORBOARD_LOG_DIR": f"{root}/logs/",
        }
    return environment
