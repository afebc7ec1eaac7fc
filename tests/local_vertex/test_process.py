"""The server as a process with the real engine: custom jobs, model servers, its end and its return."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.cloud import aiplatform_v1
from google.protobuf import struct_pb2

from tests.local_vertex.discovery import Recorder
from tests.local_vertex.servers import PARENT, PROJECT, REGION, connect
from tests.local_vertex.test_custom_jobs import custom_job
from tests.local_vertex.test_endpoints import AUTOMATIC
from tests.local_vertex_engine.specs import pipeline_spec, python_task
from tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local_vertex.servers import Client

IMAGE = "test/python:latest"
REPOSITORY = Path(__file__).resolve().parents[2]
END = {"JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED"}
RUNNING = {"PIPELINE_STATE_PENDING", "PIPELINE_STATE_RUNNING"}
SLEEP = ["-c", "import time; print('sleeping', flush=True); time.sleep(600)"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A server in its own process, whose answers are recorded."""

    popen: subprocess.Popen[str]
    rest_port: int
    grpc_port: int
    recorder: Recorder = field(default_factory=Recorder)

    def client(self, client_type: Client) -> Client:
        """Return an official client."""
        return connect(client_type, self, "grpc", recorder=self.recorder)  # type: ignore[arg-type]  # has the ports


def start(folder: Path, *options: str) -> Process:
    """Start a server and wait for the line with its ports."""
    (folder / "gcs").mkdir(exist_ok=True)
    images = [
        {"image": "test/*", "interpreter": sys.executable, "environment": {"PYTHONPATH": str(REPOSITORY)}}
    ]
    (folder / "images.json").write_text(json.dumps(images))
    command = [sys.executable, "-m", "local_vertex", "--state", str(folder / "vertex")]
    command += ["--gcs-root", str(folder / "gcs"), "--images", str(folder / "images.json")]
    command += ["--project", PROJECT, "--region", REGION, "--no-warm", *options]
    popen = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    if popen.stdout is None:
        pytest.fail("no output")
    rest, grpc = popen.stdout.readline().split()[2::2]
    return Process(popen=popen, rest_port=_port(rest), grpc_port=_port(grpc))


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Process]:
    """Serve, then end with SIGTERM and check what was answered."""
    process = start(folder, *options)
    try:
        yield process
    finally:
        process.popen.terminate()
        process.popen.wait(30)
    process.recorder.check()


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below a process."""
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return children + [below for child in children for below in descendants(child)]


def alive(pid: int) -> bool:
    """Return whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def run_job(process: Process, args: list[str]) -> str:
    """Create a custom job that runs Python with arguments."""
    jobs = process.client(aiplatform_v1.JobServiceClient)
    container = {"image_uri": IMAGE, "command": ["python"], "args": args}
    pools = [{"container_spec": container, "replica_count": 1}]
    job = jobs.create_custom_job(parent=PARENT, custom_job=custom_job(job_spec={"worker_pool_specs": pools}))
    return str(job.name)


def job_of(process: Process, name: str) -> Client:
    """Return a custom job."""
    return process.client(aiplatform_v1.JobServiceClient).get_custom_job(name=name)


def serve_model(process: Process) -> str:
    """Deploy the model server of these tests; return the endpoint."""
    models = process.client(aiplatform_v1.ModelServiceClient)
    endpoints = process.client(aiplatform_v1.EndpointServiceClient)
    container = {
        "image_uri": IMAGE,
        "command": ["python", "-m", "tests.local_vertex.model_server"],
        "predict_route": "/predict",
        "health_route": "/health",
    }
    model = {"display_name": "double", "container_spec": container}
    uploaded = models.upload_model(parent=PARENT, model=model).result(timeout=5)
    endpoint = endpoints.create_endpoint(parent=PARENT, endpoint={"display_name": "double"}).result(timeout=5)
    endpoints.deploy_model(
        endpoint=endpoint.name,
        deployed_model={"model": uploaded.model, "automatic_resources": AUTOMATIC},
        traffic_split={"0": 100},
    ).result(timeout=60)
    return str(endpoint.name)


def predict(process: Process, endpoint: str, value: struct_pb2.Value) -> list[float]:
    """Send a request to an endpoint."""
    prediction = process.client(aiplatform_v1.PredictionServiceClient)
    return list(prediction.predict(endpoint=endpoint, instances=[value], retry=None).predictions)


def pipeline(gate: Path) -> dict[str, Any]:
    """Return a pipeline of two tasks: `first` writes a line, `second` waits for the file `gate`."""
    first = f"open({str(gate.with_name('ran'))!r}, 'a').write('first\\n')"
    second = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.05)"
    tasks = {
        "first": python_task(first, container={"image": IMAGE}),
        "second": python_task(second, container={"image": IMAGE}, dependentTasks=["first"]),
    }
    return pipeline_spec(tasks)


def run_pipeline(process: Process, spec: dict[str, Any]) -> str:
    """Create a pipeline job."""
    job = {"pipeline_spec": spec, "runtime_config": {"gcs_output_directory": "gs://bucket/runs"}}
    client = process.client(aiplatform_v1.PipelineServiceClient)
    return str(client.create_pipeline_job(parent=PARENT, pipeline_job=job, pipeline_job_id="a").name)


def pipeline_states(process: Process, name: str) -> tuple[str, dict[str, str]]:
    """Return the state of a pipeline job, and of its tasks."""
    job = process.client(aiplatform_v1.PipelineServiceClient).get_pipeline_job(name=name)
    return job.state.name, {task.task_name: task.state.name for task in job.job_detail.task_details}


def test_pipeline(tmp_path: Path) -> None:
    """A pipeline's tasks run, one after the other."""
    (tmp_path / "gate").touch()
    with serving(tmp_path) as process:
        name = run_pipeline(process, pipeline(tmp_path / "gate"))
        wait_for(lambda: pipeline_states(process, name)[0] not in RUNNING, 60)
        state, tasks = pipeline_states(process, name)

    assert state == "PIPELINE_STATE_SUCCEEDED"
    assert tasks == {"first": "SUCCEEDED", "second": "SUCCEEDED"}


def test_a_cancelled_pipeline_leaves_no_process(tmp_path: Path) -> None:
    """A client's cancellation reaches the processes of the task that runs; what has ended stays as it is."""
    with serving(tmp_path) as process:
        name = run_pipeline(process, pipeline(tmp_path / "gate"))
        wait_for(lambda: pipeline_states(process, name)[1].get("second") == "RUNNING", 30)
        wait_for(lambda: len(descendants(process.popen.pid)) >= 2, 30)
        children = descendants(process.popen.pid)
        process.client(aiplatform_v1.PipelineServiceClient).cancel_pipeline_job(name=name)
        wait_for(lambda: pipeline_states(process, name)[0] == "PIPELINE_STATE_CANCELLED", 30)
        left = [pid for pid in children if alive(pid)]
        tasks = pipeline_states(process, name)[1]

    assert left == []
    assert tasks == {"first": "SUCCEEDED", "second": "CANCELLED"}


def test_a_pipeline_survives_a_kill(tmp_path: Path) -> None:
    """After a kill the finished task stays finished, and the other one runs to its end."""
    process = start(tmp_path)
    name = run_pipeline(process, pipeline(tmp_path / "gate"))
    wait_for(lambda: pipeline_states(process, name)[1].get("second") == "RUNNING", 30)
    os.kill(process.popen.pid, signal.SIGKILL)
    process.popen.wait(10)
    (tmp_path / "gate").touch()
    with serving(tmp_path) as again:
        wait_for(lambda: pipeline_states(again, name)[0] not in RUNNING, 60)
        state, tasks = pipeline_states(again, name)

    assert state == "PIPELINE_STATE_SUCCEEDED"
    assert tasks == {"first": "SUCCEEDED", "second": "SUCCEEDED"}
    assert (tmp_path / "ran").read_text() == "first\n"


def test_custom_job(tmp_path: Path) -> None:
    """A job runs, and its log has what it wrote."""
    with serving(tmp_path) as process:
        name = run_job(process, ["-c", "print('compiled')"])
        wait_for(lambda: job_of(process, name).state.name in END, 30)
        job = job_of(process, name)

    assert job.state.name == "JOB_STATE_SUCCEEDED"
    assert "compiled" in Path(job.web_access_uris["log"].removeprefix("file://")).read_text()


def test_failed_custom_job(tmp_path: Path) -> None:
    """A failed job names its cause and its log."""
    with serving(tmp_path) as process:
        name = run_job(process, ["-c", "raise ValueError('no modules')"])
        wait_for(lambda: job_of(process, name).state.name in END, 30)
        job = job_of(process, name)

    assert job.state.name == "JOB_STATE_FAILED"
    assert "ValueError: no modules" in job.error.message
    assert str(tmp_path) in job.error.message


def test_predict(tmp_path: Path) -> None:
    """A deployed model is a real server; its refusal reaches the client."""
    with serving(tmp_path) as process:
        endpoint = serve_model(process)
        answer = predict(process, endpoint, struct_pb2.Value(number_value=4))
        with pytest.raises(exceptions.InvalidArgument, match="expected numbers"):
            predict(process, endpoint, struct_pb2.Value(null_value=struct_pb2.NULL_VALUE))

    assert answer == [8.0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_at_once_ends_the_server(tmp_path: Path, number: signal.Signals) -> None:
    """A signal counts from the line with the ports on, before the web server answers."""
    process = start(tmp_path)
    process.popen.send_signal(number)

    assert process.popen.wait(30) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    """A signal ends the server with status 0, and all its children with it."""
    process = start(tmp_path)
    serve_model(process)
    name = run_job(process, SLEEP)
    wait_for(lambda: job_of(process, name).state.name == "JOB_STATE_RUNNING", 30)
    children = descendants(process.popen.pid)
    process.popen.send_signal(number)
    status = process.popen.wait(30)

    assert status == 0
    assert len(children) >= 2
    assert [pid for pid in children if alive(pid)] == []


def test_a_killed_server_comes_back(tmp_path: Path) -> None:
    """After a kill the children are gone, the model answers again and the job runs again."""
    process = start(tmp_path)
    endpoint = serve_model(process)
    name = run_job(process, SLEEP)
    wait_for(lambda: job_of(process, name).state.name == "JOB_STATE_RUNNING", 30)
    children = descendants(process.popen.pid)
    os.kill(process.popen.pid, signal.SIGKILL)
    process.popen.wait(10)
    wait_for(lambda: not any(alive(pid) for pid in children), 30)
    with serving(tmp_path) as again:
        wait_for(lambda: _answers(again, endpoint), 60)
        state = job_of(again, name).state.name

    assert state == "JOB_STATE_RUNNING"


def _answers(process: Process, endpoint: str) -> bool:
    try:
        return predict(process, endpoint, struct_pb2.Value(number_value=1)) == [2.0]
    except exceptions.ServiceUnavailable:
        return False


def test_a_port_in_use(tmp_path: Path) -> None:
    """A taken port ends the server with one line that says what to do."""
    with serving(tmp_path) as process:
        command = [*process.popen.args[:3], "--state", str(tmp_path / "other")]  # type: ignore[index]  # a list
        command += process.popen.args[5:]  # type: ignore[index]  # a list
        command += ["--rest-port", str(process.rest_port)]
        second = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60
        )

    assert second.returncode == 1
    assert second.stderr.splitlines()[-1].endswith("choose another --rest-port")
