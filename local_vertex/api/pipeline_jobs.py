"""Pipeline jobs in the store: what the engine reports of them, and how clients see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.cloud import aiplatform_v1

from local_vertex.api import task_records
from local_vertex.api.collection import Collection
from local_vertex.api.job_states import JobStates
from local_vertex.api.metadata import contexts_of
from local_vertex.domain.names import PipelineJobName
from local_vertex.domain.states import TERMINAL_RUN_STATES, TERMINAL_TASK_STATES, TaskState

if TYPE_CHECKING:
    from datetime import datetime

    from local_vertex.api.messages import Message
    from local_vertex.api.metadata import Metadata
    from local_vertex.api.region import Region
    from local_vertex.domain.records import Failure, TaskRecord
    from local_vertex.domain.states import RunState

JOB = aiplatform_v1.PipelineJob.pb()
STATES = JobStates(enum=aiplatform_v1.PipelineState, prefix="PIPELINE_STATE_")


class PipelineJobs:
    """All pipeline jobs with their tasks; the engine reports to it (RunListener).

    With `lean_skipped`, tasks that came from the cache list no outputs.
    """

    def __init__(self, region: Region, metadata: Metadata, *, lean_skipped: bool = False) -> None:
        self._region = region
        self._metadata = metadata
        self._lean_skipped = lean_skipped
        self._jobs = Collection(region.store, JOB)

    def get(self, name: str) -> Message:
        """Return a job with the details of its tasks; raises NotFound."""
        job = self._jobs.get(name)
        parent = str(PipelineJobName.parse(job.name).parent)
        for task in self.tasks(job.name):
            detail = task_records.to_detail(task, parent)
            if self._lean_skipped and task.state is TaskState.SKIPPED:
                detail.outputs.clear()
            job.job_detail.task_details.append(detail)
        pipeline, run = contexts_of(job.name, pipeline_name(job))
        job.job_detail.pipeline_context.CopyFrom(pipeline)
        job.job_detail.pipeline_run_context.CopyFrom(run)
        return job

    def all(self, parent: str | None = None) -> list[Message]:
        """Return the jobs of a location, the newest first, without the details of their tasks."""
        return self._jobs.all(parent)

    def listed(self, parent: str) -> list[Message]:
        """Return the jobs of a location as a list shows them, as `all` does."""
        return self._jobs.earlier(parent, age=self._region.lags.lists)

    def insert(self, job: Message, parent: str) -> None:
        """Add a job and its contexts; raises AlreadyExists."""
        with self._region.store.transaction():
            self._jobs.insert(job, parent)
            self._metadata.begin(job.name, pipeline_name(job))

    def delete(self, name: str) -> None:
        """Forget a job and its tasks; their artifacts stay in the metadata store."""
        with self._region.store.transaction():
            self._jobs.delete(name)
            self._region.store.delete_tasks(name)

    def tasks(self, name: str) -> list[TaskRecord]:
        """Return the records of a job's tasks."""
        return [task_records.from_text(text) for text in self._region.store.tasks(name)]

    def run_changed(self, name: str, state: RunState, *, at: datetime, error: Failure | None) -> None:
        """Take the new state of a job; a final state is never left again, and waits for a full disk."""

        def write() -> None:
            with self._region.store.transaction():
                job = self._jobs.find(name)
                if job is not None and STATES.change(job, state, at=at, error=error):
                    self._jobs.put(job)

        self._region.store.record(f"{name}: {state}", write, final=state in TERMINAL_RUN_STATES)

    def task_changed(self, name: str, task: TaskRecord) -> None:
        """Take the record of a task; the last one waits for a full disk."""

        def write() -> None:
            with self._region.store.transaction():
                self._region.store.put_task(name, task.task_id, task_records.to_text(task))
                job = self._jobs.find(name)
                if job is not None:
                    self._metadata.record(name, pipeline_name(job), task)

        event = f"{name}, task '{task.name}': {task.state}"
        self._region.store.record(event, write, final=task.state in TERMINAL_TASK_STATES)


def pipeline_name(job: Message) -> str:
    """Return the name of the pipeline in a job's spec, or an empty string."""
    fields = job.pipeline_spec.fields
    if "pipelineInfo" not in fields:
        return ""
    return str(fields["pipelineInfo"].struct_value.fields["name"].string_value)
