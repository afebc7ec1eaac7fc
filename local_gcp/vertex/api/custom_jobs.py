"""Custom jobs in the store, and what their runner reports of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.cloud import aiplatform_v1

from local_gcp.vertex.api.messages import set_time, status_of
from local_gcp.vertex.api.resources import Collection
from local_gcp.vertex.domain.states import TERMINAL_RUN_STATES, RunState

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from local_gcp.vertex.api.messages import Message
    from local_gcp.vertex.api.region import Region
    from local_gcp.vertex.domain.records import Failure

CUSTOM_JOB = aiplatform_v1.CustomJob.pb()
_PREFIX = "JOB_STATE_"


def wire_state(state: RunState) -> int:
    """Return a state as the number of JobState."""
    return int(getattr(aiplatform_v1.JobState, f"{_PREFIX}{state}"))


def run_state(job: Message) -> RunState:
    """Return the state of a job."""
    return RunState(aiplatform_v1.JobState(job.state).name.removeprefix(_PREFIX))


class CustomJobs(Collection):
    """All custom jobs; the runner reports to it (JobListener)."""

    def __init__(self, region: Region) -> None:
        super().__init__(region.store, CUSTOM_JOB)
        self._region = region

    def job_changed(
        self,
        name: str,
        state: RunState,
        *,
        at: datetime,
        error: Failure | None,
        log_path: Path | None,
    ) -> None:
        """Take the new state of a job; a final state is never left again.

        The log's file:// address is listed among the job's `web_access_uris`, as `log`.
        """
        with self._region.store.transaction():
            job = self.find(name)
            if job is None or run_state(job) in TERMINAL_RUN_STATES:
                return
            job.state = wire_state(state)
            set_time(job.update_time, at)
            if not job.HasField("start_time") and state is RunState.RUNNING:
                set_time(job.start_time, at)
            if state in TERMINAL_RUN_STATES:
                set_time(job.end_time, at)
            if error is not None:
                job.error.CopyFrom(status_of(error))
            if log_path is not None:
                job.web_access_uris["log"] = log_path.as_uri()
            self.put(job)
