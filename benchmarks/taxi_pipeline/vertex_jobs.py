"""Pipeline jobs of a local Vertex AI, timed by a client from the create call to the terminal state."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import requests

from local_gcp.layout import PROJECT, REGION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from local_gcp.layout import Layout

_PARENT = f"v1/projects/{PROJECT}/locations/{REGION}/pipelineJobs"
_TIMEOUT_SECONDS = 30
_ACTIVE = {"PIPELINE_STATE_QUEUED", "PIPELINE_STATE_PENDING", "PIPELINE_STATE_RUNNING"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedJob:
    """A job that succeeded: seconds that its client waited, and those of each task."""

    seconds: float
    tasks: Mapping[str, float]


def timed(url: str, job: Mapping[str, Any]) -> TimedJob:
    """Run a job (JSON of a PipelineJob) at `url`; end the program when it does not succeed."""
    began = time.monotonic()
    name = f"bench-{uuid.uuid4().hex[:12]}"
    created = requests.post(
        f"{url}/{_PARENT}", json=dict(job), params={"pipelineJobId": name}, timeout=_TIMEOUT_SECONDS
    )
    created.raise_for_status()
    found = created.json()
    while found["state"] in _ACTIVE:
        time.sleep(0.1)
        answer = requests.get(f"{url}/{_PARENT}/{name}", timeout=_TIMEOUT_SECONDS)
        answer.raise_for_status()
        found = answer.json()
    if found["state"] != "PIPELINE_STATE_SUCCEEDED":
        sys.exit(f"job {name}: {found['state']} {found.get('error')}")
    return TimedJob(seconds=time.monotonic() - began, tasks=_task_seconds(found))


def _task_seconds(job: Mapping[str, Any]) -> dict[str, float]:
    details = job["jobDetail"]["taskDetails"]
    return {task["taskName"]: _seconds(task) for task in details if task.get("endTime")}


def _seconds(task: Mapping[str, Any]) -> float:
    start, end = (datetime.fromisoformat(task[key]) for key in ("startTime", "endTime"))
    return (end - start).total_seconds()


@contextmanager
def serving_cold(layout: Layout, environment: Mapping[str, str], state: Path) -> Iterator[str]:
    """Run another local Vertex AI over the same buckets, with a subprocess for each task; yield its URL."""
    command = [sys.executable, "-m", "local_gcp.vertex", "--no-warm", "--state", str(state)]
    command += ["--gcs-root", str(layout.gcs_root), "--images", str(layout.images)]
    command += ["--project", PROJECT, "--region", REGION]
    with subprocess.Popen(
        command, cwd=layout.repository, env=dict(environment), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            (line,) = islice(process.stdout or (), 1)
            yield line.split()[2]
        finally:
            process.terminate()
