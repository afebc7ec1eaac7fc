"""Crashes in the middle of a run: of the scheduler while Vertex AI compiles, of Vertex AI while it trains."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import requests

from local_gcp.layout import PROJECT, REGION
from tests.compose.progress import ProofError, say

if TYPE_CHECKING:
    from tests.compose.project import Project

_SCHEDULER: Final = "airflow-scheduler"
_VERTEX: Final = "vertex"
# It runs for a long time, after others have ended.
_COMPONENT: Final = "Transform"
_TIMEOUT_SECONDS: Final = 10


@dataclass(slots=True)
class Crashes:
    """Looks at Vertex AI's jobs, and crashes each service once when its moment has come."""

    project: Project
    vertex_url: str
    _happened: set[str] = field(default_factory=set)

    def look(self) -> None:
        """Look once."""
        if _SCHEDULER not in self._happened and self._compiles():
            self._crash(_SCHEDULER)
        if _VERTEX not in self._happened and self._trains():
            self._crash(_VERTEX)

    def require_all(self) -> None:
        """Raise ProofError unless both have happened."""
        if missing := {_SCHEDULER, _VERTEX} - self._happened:
            raise ProofError(f"the run ended before {', '.join(sorted(missing))} could be crashed")

    def _crash(self, service: str) -> None:
        self._happened.add(service)
        say(f"crashing {service}")
        self.project.crash(service)

    def _compiles(self) -> bool:
        return any(job["state"] == "JOB_STATE_RUNNING" for job in self._list("customJobs"))

    def _trains(self) -> bool:
        jobs = [self._get(job["name"]) for job in self._list("pipelineJobs")]
        tasks = [task for job in jobs for task in job.get("jobDetail", {}).get("taskDetails", [])]
        return any(task["taskName"] == _COMPONENT and task.get("state") == "RUNNING" for task in tasks)

    def _list(self, collection: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._get(f"projects/{PROJECT}/locations/{REGION}/{collection}").get(
            collection, []
        )
        return found

    def _get(self, name: str) -> dict[str, Any]:
        answer = requests.get(f"{self.vertex_url}/v1/{name}", timeout=_TIMEOUT_SECONDS)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found
