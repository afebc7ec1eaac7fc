"""Custom jobs in the store, and what their runner reports of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.cloud import aiplatform_v1

from local_vertex.api.collection import Collection
from local_vertex.api.job_states import JobStates
from local_vertex.domain.states import TERMINAL_RUN_STATES

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from local_vertex.api.region import Region
    from local_vertex.domain.records import Failure
    from local_vertex.domain.states import RunState

CUSTOM_JOB = aiplatform_v1.CustomJob.pb()
STATES = JobStates(enum=aiplatform_v1.JobState, prefix="JOB_STATE_")


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
        """Take the new state of a job; a final state is never left again, and waits for a full disk.

        The log's file:// address is listed among the job's `web_access_uris`, as `log`.
        """

        def write() -> None:
            with self._region.store.transaction():
                job = self.find(name)
                if job is None or not STATES.change(job, state, at=at, error=error):
                    return
                if log_path is not None:
                    job.web_access_uris["log"] = log_path.as_uri()
                self.put(job)

        self._region.store.record(f"{name}: {state}", write, final=state in TERMINAL_RUN_STATES)
