"""A Vertex AI job as the operators see it: one frozen view of PipelineJob and CustomJob."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vertex_airflow.labels import ATTEMPT_LABEL
from vertex_airflow.states import ACTIVE_STATES, JobKind, JobState, wire_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.cloud.aiplatform_v1 import Artifact, CustomJob, PipelineJob
    from google.cloud.aiplatform_v1.types import PipelineTaskDetail
    from google.longrunning.operations_pb2 import Operation


_CACHED = "SKIPPED"  # how PipelineTaskDetail calls a cache hit
_CANCELLED_CODE = 1  # google.rpc.Code
_SCHEMA_OF_DAGS = "system.DagExecution"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One task of a PipelineJob; ``seconds`` is None until it has started.

    ``execution`` is its resource name in the metadata store.
    """

    name: str
    state: str
    seconds: float | None = None
    error: str = ""
    log: str = ""
    execution: str = ""

    @property
    def cached(self) -> bool:
        """Whether the outputs came from the cache."""
        return self.state == _CACHED


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """What waiting, explaining and returning need of a job.

    ``attempt`` counts from 0. ``created`` is seconds since the epoch, 0 when unknown. ``artifacts`` maps
    ``component.output`` to the URI of its first artifact, ``properties`` ``component.output.property`` to a
    text of that artifact's metadata.
    """

    kind: JobKind
    name: str
    state: JobState
    created: float
    attempt: int = 0
    error: str = ""
    log: str = ""
    components: tuple[Component, ...] = ()
    artifacts: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether the job may still change by itself."""
        return self.state in ACTIVE_STATES


def view_custom(job: CustomJob) -> JobView:
    """Return the view of a CustomJob."""
    return JobView(
        kind=JobKind.CUSTOM,
        name=job.name,
        state=wire_state(job.state),
        created=_epoch(job.create_time) or 0.0,
        attempt=_attempt(job.labels),
        error=job.error.message,
        log=job.labels.get("log_uri", ""),
    )


def view_operation(operation: Operation) -> JobView:
    """Return the view of a long-running operation, which does not say when it was created."""
    state = JobState.RUNNING
    if operation.done:
        state = JobState.SUCCEEDED
    if operation.done and operation.HasField("error"):
        state = JobState.CANCELLED if operation.error.code == _CANCELLED_CODE else JobState.FAILED
    return JobView(
        kind=JobKind.OPERATION,
        name=operation.name,
        state=state,
        created=0.0,
        error=operation.error.message,
    )


def view_pipeline(job: PipelineJob) -> JobView:
    """Return the view of a PipelineJob with its components in the order in which they started."""
    tasks = sorted(
        (task for task in job.job_detail.task_details if not _is_dag(task, job)), key=_starting_order
    )
    outputs = {
        f"{task.task_name}.{key}": listed.artifacts[0]
        for task in tasks
        for key, listed in task.outputs.items()
        if listed.artifacts
    }
    return JobView(
        kind=JobKind.PIPELINE,
        name=job.name,
        state=wire_state(job.state),
        created=_epoch(job.create_time) or 0.0,
        attempt=_attempt(job.labels),
        error=job.error.message,
        components=tuple(_component(task) for task in tasks),
        artifacts={output: artifact.uri for output, artifact in outputs.items()},
        properties=texts_of(outputs),
    )


def texts_of(outputs: Mapping[str, Artifact]) -> dict[str, str]:
    """Return the texts in the metadata of artifacts, by output and property."""
    return {
        f"{output}.{name}": value
        for output, artifact in outputs.items()
        for name, value in (artifact.metadata or {}).items()
        if isinstance(value, str)
    }


def _component(task: PipelineTaskDetail) -> Component:
    return Component(
        name=task.task_name,
        state=getattr(task.state, "name", str(task.state)),
        seconds=_seconds(task),
        error=task.error.message,
        log=_log(task),
        execution=task.execution.name,
    )


def _is_dag(task: PipelineTaskDetail, job: PipelineJob) -> bool:
    """Tell the tasks that only hold others, the pipeline itself among them, from those that do work."""
    if task.execution.schema_title == _SCHEMA_OF_DAGS:
        return True
    return any(other.parent_task_id == task.task_id for other in job.job_detail.task_details if task.task_id)


def _log(task: PipelineTaskDetail) -> str:
    """Return where a task's log is: the address in its metadata, or the CustomJob that ran it."""
    metadata: Any = task.execution.metadata
    address = metadata.get("log_uri") if metadata else None
    return str(address) if address else task.executor_detail.container_detail.main_job


def _seconds(task: PipelineTaskDetail) -> float | None:
    start, end = _epoch(task.start_time), _epoch(task.end_time)
    if start is None or end is None:
        return None
    return max(0.0, end - start)


def _starting_order(task: PipelineTaskDetail) -> tuple[float, float, int]:
    never = float("inf")
    return (_epoch(task.start_time) or never, _epoch(task.create_time) or never, task.task_id)


def _attempt(labels: Mapping[str, str]) -> int:
    text = labels.get(ATTEMPT_LABEL, "")
    return int(text) if text.isdecimal() else 0


def _epoch(moment: Any) -> float | None:  # noqa: ANN401  # proto-plus gives a datetime, its stub says Timestamp
    return moment.timestamp() if moment else None
