"""Custom jobs as the pages show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_vertex.api.custom_jobs import STATES
from local_vertex.domain.names import CustomJobName
from local_vertex.domain.states import TERMINAL_RUN_STATES
from local_vertex.ui.formats import seconds_between, time_of
from local_vertex.ui.sources import file_of

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from local_vertex.api.messages import Message
    from local_vertex.domain.states import RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomJobView:
    """One custom job; `seconds` is its age while it runs."""

    name: str
    job_id: str
    title: str
    state: RunState
    created: datetime | None
    ended: datetime | None
    seconds: float | None
    image: str
    command: tuple[str, ...]
    error: str
    log_path: Path | None

    @property
    def final(self) -> bool:
        """True if the job has ended."""
        return self.state in TERMINAL_RUN_STATES


def custom_job_view(job: Message, now: datetime) -> CustomJobView:
    """Return a job as the pages show it at the time `now`."""
    container = job.job_spec.worker_pool_specs[0].container_spec
    created, ended = time_of(job.create_time), time_of(job.end_time)
    return CustomJobView(
        name=job.name,
        job_id=CustomJobName.parse(job.name).id,
        title=job.display_name,
        state=STATES.of(job),
        created=created,
        ended=ended,
        seconds=seconds_between(created, ended or now),
        image=container.image_uri,
        command=(*container.command, *container.args),
        error=job.error.message,
        log_path=file_of(job.web_access_uris.get("log", "")),
    )
