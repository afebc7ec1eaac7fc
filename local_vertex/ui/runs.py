"""Pipeline jobs as the pages show them: rows of the list, the picture of a run, a task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local_vertex.api.messages import plain
from local_vertex.api.pipeline_jobs import STATES, pipeline_name
from local_vertex.domain.errors import VertexError
from local_vertex.domain.names import PipelineJobName
from local_vertex.domain.states import TERMINAL_RUN_STATES, TERMINAL_TASK_STATES, TaskState
from local_vertex.plan.planner import make_plan
from local_vertex.run.executor_input import numeric_id
from local_vertex.ui.formats import seconds_between, time_of
from local_vertex.ui.layout import draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from local_vertex.api.messages import Message
    from local_vertex.domain.records import TaskRecord
    from local_vertex.domain.states import RunState
    from local_vertex.ui.layout import Picture

TASK_LABELS = {TaskState.SKIPPED: "cached", TaskState.NOT_TRIGGERED: "not triggered"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """One task of a run; `seconds` counts on while it runs, `offset` is since the start of the run."""

    record: TaskRecord
    seconds: float | None
    offset: float

    @property
    def label(self) -> str:
        """The state in words."""
        return TASK_LABELS.get(self.record.state, self.record.state.lower())

    @property
    def made(self) -> frozenset[str]:
        """The names of its output artifacts."""
        return frozenset(each.name for artifacts in self.record.outputs.values() for each in artifacts)

    @property
    def key(self) -> str:
        """The task id, as it is in addresses."""
        return str(self.record.task_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One pipeline job; `seconds` is its age while it runs."""

    name: str
    job_id: str
    title: str
    pipeline: str
    state: RunState
    created: datetime | None
    ended: datetime | None
    seconds: float | None
    error: str
    tasks: tuple[TaskView, ...]
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def final(self) -> bool:
        """True if the run has ended."""
        return self.state in TERMINAL_RUN_STATES

    @property
    def done(self) -> int:
        """The number of tasks that have ended."""
        return sum(task.record.state in TERMINAL_TASK_STATES for task in self.tasks)

    @property
    def cached(self) -> int:
        """The number of tasks that were served from the cache."""
        return sum(task.record.state is TaskState.SKIPPED for task in self.tasks)

    def task(self, key: str) -> TaskView | None:
        """Return the task of an id, or None."""
        return next((task for task in self.tasks if task.key == key), None)

    def maker(self, artifact: str) -> TaskView | None:
        """Return the task of this run that made an artifact, or None if it comes from elsewhere."""
        return next((task for task in self.tasks if artifact in task.made), None)


def run_view(job: Message, records: Sequence[TaskRecord], now: datetime) -> RunView:
    """Return a job as the pages show it at the time `now`; tasks in the order of their start."""
    created, ended = time_of(job.create_time), time_of(job.end_time)
    ordered = sorted(records, key=lambda record: (record.start_time or record.end_time or now, record.name))
    return RunView(
        name=job.name,
        job_id=PipelineJobName.parse(job.name).id,
        title=job.display_name or PipelineJobName.parse(job.name).id,
        pipeline=pipeline_name(job),
        state=STATES.of(job),
        created=created,
        ended=ended,
        seconds=seconds_between(created, ended or now),
        error=job.error.message,
        tasks=tuple(_task_view(record, created, now) for record in ordered),
        labels=dict(job.labels),
    )


def _task_view(record: TaskRecord, created: datetime | None, now: datetime) -> TaskView:
    end = record.end_time or (now if record.state is TaskState.RUNNING else None)
    start = record.start_time
    return TaskView(
        record=record,
        seconds=seconds_between(start, end),
        offset=seconds_between(created, start) or 0.0,
    )


def picture(job: Message, run: RunView) -> Picture:
    """Return the run's graph, whose nodes are the keys of its tasks.

    A spec that is no longer understood has no arrows.
    """
    needs = _needs(job) if run.tasks else {}
    return draw({task.key: needs.get(task.key, ()) for task in run.tasks})


def _needs(job: Message) -> dict[str, list[str]]:
    try:
        tasks = make_plan(plain(job.pipeline_spec)).tasks
    except VertexError:
        return {}
    keys = {name: str(numeric_id(job.name, name)) for name in tasks}
    return {keys[name]: [keys[each] for each in task.depends_on] for name, task in tasks.items()}
