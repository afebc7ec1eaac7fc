"""The states of Vertex AI jobs, and which of them end one."""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class JobKind(StrEnum):
    """What a task can wait for: two kinds of job, and the long-running operation behind other calls."""

    PIPELINE = "pipeline"
    CUSTOM = "custom"
    OPERATION = "operation"


@unique
class JobState(StrEnum):
    """The states of a PipelineJob or CustomJob, without the prefix that the wire gives them.

    UNKNOWN stands for a value that this version does not know.
    """

    QUEUED = "QUEUED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    PAUSED = "PAUSED"
    EXPIRED = "EXPIRED"
    UPDATING = "UPDATING"
    PARTIALLY_SUCCEEDED = "PARTIALLY_SUCCEEDED"
    UNKNOWN = "UNKNOWN"


# A paused job waits for a person. Nobody is told while a task waits for it, so it is none of these.
ACTIVE_STATES = frozenset(
    {JobState.QUEUED, JobState.PENDING, JobState.RUNNING, JobState.CANCELLING, JobState.UPDATING}
)
# A retry after one of these submits a new attempt; any other final state needs a person first.
REPLACEABLE_STATES = frozenset(
    {JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED, JobState.PARTIALLY_SUCCEEDED}
)

_KNOWN = frozenset(state.value for state in JobState)
_PREFIXES = ("PIPELINE_STATE_", "JOB_STATE_")


def parse_state(wire_name: str) -> JobState:
    """Return the state that the wire calls ``PIPELINE_STATE_RUNNING`` or ``JOB_STATE_RUNNING``."""
    bare = wire_name
    for prefix in _PREFIXES:
        bare = bare.removeprefix(prefix)
    return JobState(bare) if bare in _KNOWN else JobState.UNKNOWN


def wire_state(state: object) -> JobState:
    """Return the state behind a generated enum member, or behind the bare number of a newer one."""
    return parse_state(str(getattr(state, "name", state)))


def explain_final(state: JobState) -> str:
    """Say what a final state other than SUCCEEDED means and what to do about it."""
    return _EXPLANATIONS.get(state, f"is {state}, which is not a final state")


_EXPLANATIONS = {
    JobState.FAILED: "failed",
    JobState.CANCELLED: "was cancelled; clear the task to submit a new attempt",
    JobState.PAUSED: "is paused, which is no success: resume or cancel it, then clear the task",
    JobState.EXPIRED: "expired before it finished; raise its timeout or its quota",
    JobState.PARTIALLY_SUCCEEDED: "succeeded only in part, which is no success",
    JobState.UNKNOWN: "is in a state that this version does not know; look at the job, then clear the task",
}
