"""The ports of the engine, through which the API starts runs and hears of each change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from local_vertex.domain.records import ArtifactRecord, CachedExecution, Failure, TaskRecord
    from local_vertex.domain.states import RunState
    from local_vertex.plan.plan import Plan

SEVEN_DAYS = 7 * 24 * 3600.0

Adopt = Callable[[Path, Path], object]
"""Makes the files under a path (second) objects of the object store whose root is the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The engine's settings for this machine; times in seconds.

    `gcs_root` and `state_dir` are on one file system. `warm` keeps executors imported between tasks,
    `prestart` imports them as soon as the server starts. Tasks that run at once share `cores` and
    `memory` (bytes; None: unbounded); one that requests no memory counts as `task_memory`, one that requests
    no CPUs as one core. Tasks, pipeline jobs and custom jobs that take longer than their time-out fail;
    Vertex AI's own is seven days. A model server that takes no TCP connection within `liveness_deadline` is
    given up: Vertex AI's liveness probe tries about four times, ten seconds apart, then restarts it.
    """

    state_dir: Path
    gcs_root: Path
    adopt: Adopt
    cores: int = 2
    warm: bool = True
    prestart: bool = False
    stop_grace: float = 5.0
    server_deadline: float = 120.0
    liveness_deadline: float = 40.0
    memory: int | None = None
    task_memory: int = 1_000_000_000
    task_timeout: float = SEVEN_DAYS
    job_timeout: float = SEVEN_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRun:
    """One pipeline job to run; `spec` is the wire's PipelineSpec as plain JSON, verbatim.

    `finished` are tasks that a server before this one has run, well or not: they are not run again.
    """

    name: str
    job_id: str
    project: str
    project_number: str
    location: str
    spec: dict[str, Any]
    parameter_values: dict[str, Any]
    output_directory: str
    fail_fast: bool
    create_time: datetime
    finished: tuple[TaskRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedRun:
    """A run that was checked and planned; `parameters` are its own over the pipeline's defaults."""

    run: PipelineRun
    plan: Plan
    parameters: Mapping[str, Any]


class RunListener(Protocol):
    """Hears of every change; called from the engine's threads, in order for one run.

    A call with a final state returns when that is kept, which may take until the disk has space again.
    """

    def run_changed(self, name: str, state: RunState, *, at: datetime, error: Failure | None) -> None:
        """Take the new state of the run `name`."""

    def task_changed(self, name: str, task: TaskRecord) -> None:
        """Take the full record of a task of run `name`; its key is `task.task_id`."""


class ExecutionCache(Protocol):
    """Keeps the outputs of executions, by the key of their inputs and command."""

    def find_execution(self, key: str) -> CachedExecution | None:
        """Return the outputs of the last execution of that key, if there was one."""

    def keep_execution(self, key: str, execution: CachedExecution) -> None:
        """Keep the outputs of an execution, in place of an earlier one's."""


class ArtifactCatalog(Protocol):
    """Knows the artifacts of earlier runs."""

    def artifacts(self, pipeline: str, schema_title: str) -> tuple[ArtifactRecord, ...]:
        """Return the live artifacts of a type in the context of `pipeline`, the newest first.

        Their `type_schema` may be empty: the caller knows the type.
        """


class RunHistory(ExecutionCache, ArtifactCatalog, Protocol):
    """Everything that earlier runs left for later ones."""


class PipelineEngine(Protocol):
    """Runs pipeline jobs."""

    def accept(self, run: PipelineRun) -> AcceptedRun:
        """Check and plan `run`, starting nothing.

        Raises InvalidArgument if Vertex AI would refuse it, Unimplemented if only this server does.
        """

    def start(self, accepted: AcceptedRun) -> None:
        """Start a run and return at once; raises AlreadyExists while it runs, Unavailable after `close`."""

    def cancel(self, name: str) -> None:
        """Stop the run; the listener hears CANCELLING, then CANCELLED. No-op when it has ended."""

    def close(self) -> None:
        """Stop everything; runs that are cut off are not reported, and begin again after a restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container: empty `command` and `args` mean the image's own."""

    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    predict_route: str = ""
    health_route: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomRun:
    """One custom job to run: worker pool 0's container; `output_directory` is gs://… or empty.

    `timeout` is how long (seconds) it may run.
    """

    name: str
    project: str
    project_number: str
    location: str
    container: ContainerSpec
    output_directory: str = ""
    timeout: float = SEVEN_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedJob:
    """A custom job that was checked; `argv` is its container's command line."""

    run: CustomRun
    argv: tuple[str, ...]


class JobListener(Protocol):
    """Hears of every change of a custom job as a RunListener does; called from the engine's threads."""

    def job_changed(
        self, name: str, state: RunState, *, at: datetime, error: Failure | None, log_path: Path
    ) -> None:
        """Take the new state of the job `name`."""


class CustomJobRunner(Protocol):
    """Runs custom jobs."""

    def accept(self, run: CustomRun) -> AcceptedJob:
        """Check `run`, starting nothing.

        Raises InvalidArgument for an unknown image and Unimplemented for a container without a command.
        """

    def start(self, accepted: AcceptedJob) -> None:
        """Start a job and return at once; raises AlreadyExists while it runs, Unavailable after `close`."""

    def cancel(self, name: str) -> None:
        """Stop the job; the listener hears CANCELLING, then CANCELLED. No-op when it has ended."""

    def close(self) -> None:
        """Stop everything; jobs that are cut off are not reported, and begin again after a restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """The address of a deployed model: http://127.0.0.1:`port`."""

    port: int
    log_path: Path


class ModelServers(Protocol):
    """Keeps one process for each deployed model."""

    def start(self, deployed_model_id: str, container: ContainerSpec, artifact_uri: str) -> ServerAddress:
        """Start a server and wait until it is healthy.

        Raises InvalidArgument for an unknown image and FailedPrecondition, with the tail of the log,
        when the server ends or is not healthy in time.
        """

    def stop(self, deployed_model_id: str) -> None:
        """End the server; no-op for one that is not running."""

    def predict(self, deployed_model_id: str, body: bytes) -> tuple[int, bytes]:
        """POST `body` (JSON) to the server and return its HTTP status and body.

        Raises NotFound when there is no such server and Unavailable when it does not answer.
        """

    def running(self) -> tuple[str, ...]:
        """Return the ids of the deployed models that have a server."""

    def close(self) -> None:
        """End all servers."""
