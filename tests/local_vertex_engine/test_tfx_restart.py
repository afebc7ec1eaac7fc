"""A server that is killed in the middle of a real TFX pipeline, and the one that comes after it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from google.cloud import aiplatform_v1

from tests.local_vertex.servers import CANONICAL, PARENT, PROJECT, REGION
from tests.local_vertex.test_process import RUNNING, Process, _port, alive, descendants
from tests.local_vertex_engine.pipeline_environment import PIPELINE_PYTHON, REPOSITORY
from tests.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.pipeline

NAME = f"{CANONICAL}/pipelineJobs/small"


def start(folder: Path) -> Process:
    """Start a server with warm executors of the pipeline environment."""
    rule = {
        "image": "taxi-vertex/*",
        "interpreter": str(PIPELINE_PYTHON),
        "environment": {"PYTHONPATH": str(REPOSITORY)},
    }
    (folder / "images.json").write_text(json.dumps([rule]))
    command = [sys.executable, "-m", "local_vertex", "--state", str(folder / "vertex"), "--prestart"]
    command += ["--gcs-root", str(folder / "gcs"), "--images", str(folder / "images.json")]
    command += ["--project", PROJECT, "--region", REGION]
    popen = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    if popen.stdout is None:
        pytest.fail("no output")
    rest, grpc = popen.stdout.readline().split()[2::2]
    return Process(popen=popen, rest_port=_port(rest), grpc_port=_port(grpc))


def tasks_of(process: Process) -> tuple[str, dict[str, Any]]:
    """Return the state of the job and the details of its tasks by name."""
    job = process.client(aiplatform_v1.PipelineServiceClient).get_pipeline_job(name=NAME)
    return job.state.name, {task.task_name: task for task in job.job_detail.task_details}


def is_running(process: Process, name: str) -> bool:
    """Return whether a task is at work."""
    task = tasks_of(process)[1].get(name)
    return task is not None and task.state.name == "RUNNING"


def submit(process: Process, spec: dict[str, Any]) -> None:
    """Create the job, its runtime parameter in the typed field of schema 2.0."""
    runtime = {
        "gcs_output_directory": "gs://bucket/runs",
        "parameters": {"input-base": {"string_value": "gs://bucket/trips"}},
    }
    process.client(aiplatform_v1.PipelineServiceClient).create_pipeline_job(
        parent=PARENT,
        pipeline_job={"pipeline_spec": spec, "runtime_config": runtime},
        pipeline_job_id="small",
    )


def test_a_tfx_pipeline_survives_a_kill(tmp_path: Path, small_specs: Path) -> None:
    """Finished components stay finished, the interrupted ones run again, and none runs in two servers."""
    csv = tmp_path / "gcs" / "bucket" / "trips" / "trips.csv"
    csv.parent.mkdir(parents=True)
    csv.write_text(
        "hour,miles,fare\n" + "".join(f"{row % 24},{row / 10},{3 + row / 4}\n" for row in range(300))
    )
    # Schema 2.0, whose runtime parameters are typed.
    spec = json.loads((small_specs / "2.0.json").read_text())["pipelineSpec"]
    first = start(tmp_path)
    submit(first, spec)
    wait_for(lambda: is_running(first, "StatisticsGen"), 400)
    generated = tasks_of(first)[1]["CsvExampleGen"]
    children = descendants(first.popen.pid)
    os.kill(first.popen.pid, signal.SIGKILL)
    first.popen.wait(10)
    wait_for(lambda: not any(alive(pid) for pid in children), 30)
    second = start(tmp_path)
    try:
        wait_for(lambda: tasks_of(second)[0] not in RUNNING, 400)
        state, tasks = tasks_of(second)
    finally:
        second.popen.terminate()
        second.popen.wait(30)

    assert state == "PIPELINE_STATE_SUCCEEDED"
    assert len(children) >= 2
    assert tasks["CsvExampleGen"].end_time == generated.end_time
    assert {task.state.name for task in tasks.values()} == {"SUCCEEDED", "NOT_TRIGGERED"}
