"""A Vertex AI job: its states, the operators' common view of every kind, and the report of a failure.

Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any

from vertex_airflow.labels import ATTEMPT_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.cloud.aiplatform_v1 import Artifact, CustomJob, PipelineJob
    from google.cloud.aiplatform_v1.types import PipelineTaskDetail
    from google.longrunning.operations_pb2 import Operation


@unique
class JobKind(StrEnum):
    """The kinds of what a task can wait for: two of jobs, and the long-running operation of other calls."""

    PIPELINE = "pipeline"
    CUSTOM = "custom"
    OPERATION = "operation"


@unique
class JobState(StrEnum):
    """The states of a PipelineJob or CustomJob, without the prefix that they have on the wire.

    UNKNOWN stands for a value that this version does not know.
    """

    QUEUED = "QUEUED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    UPDATING = "UPDATING"
    CANCELLING = "CANCELLING"

    SUCCEEDED = "SUCCEEDED"
    PARTIALLY_SUCCEEDED = "PARTIALLY_SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"

    # It waits for a person, and a task that waited for it would not say so: not active.
    PAUSED = "PAUSED"
    UNKNOWN = "UNKNOWN"


ACTIVE_STATES = frozenset(
    {JobState.QUEUED, JobState.PENDING, JobState.RUNNING, JobState.UPDATING, JobState.CANCELLING}
)
# A retry after one of these submits a new attempt; any other final state needs a person first.
REPLACEABLE_STATES = frozenset(
    {JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED, JobState.PARTIALLY_SUCCEEDED}
)

_KNOWN = frozenset(state.value for state in JobState)
_PREFIXES = ("PIPELINE_STATE_", "JOB_STATE_")
_EXPLANATIONS = {
    JobState.FAILED: "failed",
    JobState.CANCELLED: "was cancelled; clear the task to submit a new attempt",
    JobState.PAUSED: "is paused, which is not a success: resume or cancel it, then clear the task",
    JobState.EXPIRED: "expired before it finished; raise its timeout or its quota",
    JobState.PARTIALLY_SUCCEEDED: "succeeded only in part, which is not a success",
    JobState.UNKNOWN: "is in a state that this version does not know; look at the job, then clear the task",
}
_CACHED = "SKIPPED"  # PipelineTaskDetail's state of a cache hit
_CANCELLED_CODE = 1  # google.rpc.Code
_SCHEMA_OF_DAGS = "system.DagExecution"

_CAUSE_LENGTH = 500
_RAISED = re.compile(r"^\s*[\w.]*(Error|Exception|Exit|Interrupt|Fault|Killed)\b\s*(:|\()")
_NEVER_RAN = frozenset({"NOT_TRIGGERED", "CANCELLED", "PENDING", "STATE_UNSPECIFIED"})


def parse_state(wire_name: str) -> JobState:
    """Return the state that the wire calls ``PIPELINE_STATE_RUNNING`` or ``JOB_STATE_RUNNING``."""
    bare = wire_name
    for prefix in _PREFIXES:
        bare = bare.removeprefix(prefix)
    return JobState(bare) if bare in _KNOWN else JobState.UNKNOWN


def wire_state(state: object) -> JobState:
    """Return the state behind a generated enum member, or behind the bare number of a newer one."""
    return parse_state(str(getattr(state, "name", state)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One task of a PipelineJob; ``seconds`` is None until it has ended.

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
        """True if the outputs came from the cache."""
        return self.state == _CACHED


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """The part of a job that waiting for it, explaining it and returning it need.

    ``attempt`` counts from 0. ``created`` is seconds since the epoch, 0 when unknown. ``artifacts`` maps
    ``component.output`` to the URI of its first artifact, ``properties`` maps ``component.output.property``
    to a string in that artifact's metadata.
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
        """True if the job may still change by itself."""
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
    details = job.job_detail.task_details
    parents = {task.parent_task_id for task in details} - {0}
    # Tasks that only hold others, the pipeline itself among them, do no work and have no log.
    working = [
        task
        for task in details
        if task.execution.schema_title != _SCHEMA_OF_DAGS and task.task_id not in parents
    ]
    never = float("inf")
    tasks = sorted(
        working,
        key=lambda task: (_epoch(task.start_time) or never, _epoch(task.create_time) or never, task.task_id),
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
        properties=strings_of(outputs),
    )


def strings_of(outputs: Mapping[str, Artifact]) -> dict[str, str]:
    """Return the strings in the metadata of artifacts, by output and property."""
    return {
        f"{output}.{name}": value
        for output, artifact in outputs.items()
        for name, value in (artifact.metadata or {}).items()
        if isinstance(value, str)
    }


def _component(task: PipelineTaskDetail) -> Component:
    start, end = _epoch(task.start_time), _epoch(task.end_time)
    metadata: Any = task.execution.metadata
    address = metadata.get("log_uri") if metadata else None
    return Component(
        name=task.task_name,
        state=getattr(task.state, "name", str(task.state)),
        seconds=None if start is None or end is None else max(0.0, end - start),
        error=task.error.message,
        log=str(address) if address else task.executor_detail.container_detail.main_job,
        execution=task.execution.name,
    )


def _attempt(labels: Mapping[str, str]) -> int:
    label = labels.get(ATTEMPT_LABEL, "")
    return int(label) if label.isdecimal() else 0


def _epoch(moment: Any) -> float | None:  # noqa: ANN401  # proto-plus gives a datetime, its stub says Timestamp
    return moment.timestamp() if moment else None


def explain_final(state: JobState) -> str:
    """Return what a final state other than SUCCEEDED means and what to do about it."""
    return _EXPLANATIONS.get(state, f"is {state}, which is not a final state")


def root_cause(message: str) -> str:
    """Return the line of an error that says what went wrong.

    That is the last line that names an exception, as a traceback ends with one; else the last line that
    is not blank. At most 500 characters.
    """
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if not lines:
        return "no error message was given"
    raised = [line for line in lines if _RAISED.match(line)]
    return (raised or lines)[-1][:_CAUSE_LENGTH]


def explain(job: JobView, *, page: str) -> str:
    """Return why a job did not succeed: component, state, cause, log, page and what did not run."""
    kind = "PipelineJob" if job.kind is JobKind.PIPELINE else "CustomJob"
    lines = [f"{kind} {job.name.rpartition('/')[2]} {explain_final(job.state)}"]
    broken = [component for component in job.components if component.state == JobState.FAILED]
    for component in broken:
        lines.append(f"  component: {component.name} ({component.state})")
        lines.append(f"  cause: {root_cause(component.error or job.error)}")
        lines.append(f"  log: {component.log or page}")
    if not broken:
        lines.append(f"  state: {job.state}")
        if job.error:
            lines.append(f"  cause: {root_cause(job.error)}")
        lines.append(f"  log: {job.log or page}")
    elif job.error and not any(component.error for component in broken):
        lines.append(f"  job's error: {root_cause(job.error)}")
    never_ran = [component.name for component in job.components if component.state in _NEVER_RAN]
    if never_ran:
        lines.append(f"  not run because of it: {', '.join(never_ran)}")
    lines.append(f"  job: {page}")
    return "\n".join(lines)


def progress_table(components: Sequence[Component]) -> str:
    """Return the components of a pipeline with state, duration and cache hit, one line each."""
    if not components:
        return ""
    width = max(len("component"), *(len(component.name) for component in components))
    lines = [f"{'component':<{width}}  {'state':<13}  {'seconds':>7}  cache"]
    for component in components:
        seconds = "" if component.seconds is None else f"{component.seconds:.1f}"
        state = JobState.SUCCEEDED if component.cached else component.state
        hit = "hit" if component.cached else ""
        lines.append(f"{component.name:<{width}}  {state:<13}  {seconds:>7}  {hit}".rstrip())
    return "\n".join(lines)
