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
    """A job that succeeded: seconds that its client waited, and each task's start and end in Unix time."""

    seconds: float
    tasks: Mapping[str, tuple[float, float]]


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
    return TimedJob(seconds=time.monotonic() - began, tasks=_spans(found))


def _spans(job: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    details = job["jobDetail"]["taskDetails"]
    return {
        task["taskName"]: (_moment(task["startTime"]), _moment(task["endTime"]))
        for task in details
        if task.get("endTime")
    }


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdVertex:
    """A local Vertex AI with a subprocess for each task."""

    url: str
    pid: int


@contextmanager
def serving_cold(
    layout: Layout, environment: Mapping[str, str], state: Path, *, cores: int | None = None
) -> Iterator[ColdVertex]:
    """Run another local Vertex AI over the same buckets, for as many tasks at once as there are `cores`."""
    command = [sys.executable, "-m", "local_vertex", "--no-warm", "--state", str(state)]
    command += ["--gcs-root", str(layout.gcs_root), "--images", str(layout.images)]
    command += ["--project", PROJECT, "--region", REGION]
    command += ["--cores", str(cores)] if cores else []
    with subprocess.Popen(
        command, cwd=layout.repository, env=dict(environment), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            (line,) = islice(process.stdout or (), 1)
            yield ColdVertex(url=line.split()[2], pid=process.pid)
        finally:
            process.terminate()
