"""The states of jobs and tasks, and which of them are final."""

from __future__ import annotations

from enum import StrEnum


class RunState(StrEnum):
    """State of a pipeline job or custom job, named as in google.cloud.aiplatform.v1 (less its prefix)."""

    QUEUED = "QUEUED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"


class TaskState(StrEnum):
    """State of one task of a pipeline job, named as in PipelineTaskDetail.State."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"  # served from the cache
    NOT_TRIGGERED = "NOT_TRIGGERED"  # its condition is false, or what it needs did not succeed


TERMINAL_RUN_STATES = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
TERMINAL_TASK_STATES = frozenset(
    {
        TaskState.SUCCEEDED,
        TaskState.FAILED,
        TaskState.CANCELLED,
        TaskState.SKIPPED,
        TaskState.NOT_TRIGGERED,
    }
)
SATISFYING_TASK_STATES = frozenset({TaskState.SUCCEEDED, TaskState.SKIPPED})
# A task ran, or was served from the cache. The other states follow from these and are derived again
# after a restart.
EXECUTED_TASK_STATES = SATISFYING_TASK_STATES | {TaskState.FAILED}
