"""The data behind the pages: the collections of the services, by resource name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from local_vertex.domain.names import CustomJobName, EndpointName, ModelName, PipelineJobName
from local_vertex.ui.runs import run_view

if TYPE_CHECKING:
    from local_vertex.api.collection import Collection
    from local_vertex.api.custom_jobs import CustomJobs
    from local_vertex.api.messages import Message
    from local_vertex.api.models import Models
    from local_vertex.api.pipeline_jobs import PipelineJobs
    from local_vertex.api.region import Region
    from local_vertex.ui.runs import RunView

LONGEST_LOG = 128 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One deployed model of an endpoint with its percentage of the traffic."""

    deployed: Message
    percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTail:
    """The end of a log; `left_out` bytes precede it."""

    text: str
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Reads the services' resources; each look-up raises NotFound, or InvalidArgument for a wrong name."""

    region: Region
    jobs: PipelineJobs
    custom_jobs: CustomJobs
    models: Models
    endpoints: Collection

    @property
    def location(self) -> str:
        """The parent of all that is shown."""
        return str(self.region.project.location)

    def runs(self, start: int, count: int) -> tuple[list[RunView], int]:
        """Return some pipeline jobs, the newest first, and how many there are."""
        jobs = self.jobs.all(self.location)
        return [self._view(job) for job in jobs[start : start + count]], len(jobs)

    def run(self, name: str) -> tuple[Message, RunView]:
        """Return a pipeline job as it is kept and as it is shown."""
        job = self.jobs.get(str(PipelineJobName.parse(self.region.canonical(name))))
        return job, self._view(job)

    def _view(self, job: Message) -> RunView:
        return run_view(job, self.jobs.tasks(job.name), self.region.clock())

    def custom_job(self, name: str) -> Message:
        """Return a custom job."""
        return self.custom_jobs.get(str(CustomJobName.parse(self.region.canonical(name))))

    def versions(self, name: str) -> list[Message]:
        """Return the versions of a model, the newest first; or the one that `name` has."""
        model = ModelName.parse(self.region.canonical(name))
        return [self.models.get(model)] if model.version else self.models.versions(model)

    def endpoint(self, name: str) -> Message:
        """Return an endpoint."""
        return self.endpoints.get(str(EndpointName.parse(self.region.canonical(name))))

    def shares(self, endpoint: Message) -> list[Share]:
        """Return an endpoint's deployed models, the one with the most traffic first."""
        split = endpoint.traffic_split
        shares = [Share(deployed=each, percent=split.get(each.id, 0)) for each in endpoint.deployed_models]
        return sorted(shares, key=lambda share: -share.percent)

    def endpoints_of(self, version: Message) -> list[tuple[Message, Share]]:
        """Return where a version of a model is deployed."""
        return [
            (endpoint, share)
            for endpoint in self.endpoints.all(self.location)
            for share in self.shares(endpoint)
            if (share.deployed.model, share.deployed.model_version_id) == (version.name, version.version_id)
        ]


def file_of(uri: str) -> Path | None:
    """Return the path of a file:// address; None for an empty one."""
    return Path(unquote(urlsplit(uri).path)) if uri else None


def log_tail(path: Path | None) -> LogTail | None:
    """Return the last 128 KiB of a log, from the beginning of a line; None before there is one."""
    if path is None or not path.is_file():
        return None
    with path.open("rb") as log:
        size = log.seek(0, 2)
        start = max(size - LONGEST_LOG, 0)
        log.seek(start)
        content = log.read()
    if start:
        cut = content.find(b"\n") + 1
        start, content = start + cut, content[cut:]
    return LogTail(text=content.decode(errors="replace"), left_out=start)
