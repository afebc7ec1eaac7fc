"""The states of the pipeline's components, read from Vertex AI's REST API during a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import requests

from local_gcp.layout import PROJECT, REGION
from local_gcp.stack import to_stderr

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT_SECONDS = 10


@dataclass(slots=True)
class PipelineProgress:
    """Prints each state change of the components of the running pipeline job."""

    vertex_url: str
    _seen: dict[tuple[str, str], str] = field(default_factory=dict)

    def show(self) -> None:
        """Poll once and print what has changed."""
        query = {"pageSize": "1", "orderBy": "create_time desc", "filter": 'state="PIPELINE_STATE_RUNNING"'}
        listed = self._get(f"projects/{PROJECT}/locations/{REGION}/pipelineJobs", query)
        for name in (found["name"] for found in listed.get("pipelineJobs", [])):
            # A list answers without the details of tasks.
            for task in self._get(name).get("jobDetail", {}).get("taskDetails", []):
                key, state = (name, str(task["taskName"])), str(task.get("state", "PENDING"))
                if state not in ("PENDING", self._seen.get(key)):
                    self._seen[key] = state
                    to_stderr(f"          {task['taskName']:<24} {state.lower()}{_duration(task)}")

    def _get(self, name: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        response = requests.get(f"{self.vertex_url}/v1/{name}", query, timeout=_TIMEOUT_SECONDS)
        response.raise_for_status()
        found: dict[str, Any] = response.json()
        return found


def _duration(task: Mapping[str, Any]) -> str:
    if not (task.get("startTime") and task.get("endTime")):
        return ""
    start, end = (datetime.fromisoformat(task[key]) for key in ("startTime", "endTime"))
    return f" after {(end - start).total_seconds():.0f} s"
