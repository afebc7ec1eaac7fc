"""Work that ends while the disk is full is recorded when there is space again, and does not run twice."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from google.api_core import exceptions
from google.cloud import aiplatform_v1

from local_vertex.monitoring.samples import Sampling
from tests.local_vertex.servers import PARENT, connect, running_server
from tests.local_vertex.test_custom_jobs import custom_job
from tests.local_vertex.test_endpoints import AUTOMATIC
from tests.local_vertex.test_models import upload
from tests.local_vertex.test_monitoring import Clock, set_up
from tests.local_vertex.test_process import (
    RUNNING,
    descendants,
    job_of,
    pipeline,
    pipeline_states,
    run_job,
    run_pipeline,
    serving,
)
from tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.local_vertex.servers import Client, Server

_BLOCK = b"\0" * 4096


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that is a file system of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    privileged = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    command = [*privileged, "mount", "-t", "tmpfs", "-o", "size=8m,mode=777", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a full disk needs the right to mount one: {mounted.stderr.strip()}")
    yield folder
    subprocess.run([*privileged, "umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def server_folder(small_disk: Path, tmp_path: Path) -> Path:
    """Return the folder of a server whose database alone is on the small disk.

    A container that ends removes its environment, and what that frees may be all that a record needs.
    """
    state = tmp_path / "server" / "vertex"
    state.mkdir(parents=True)
    (state / "vertex.sqlite").symlink_to(small_disk / "vertex.sqlite")
    return state.parent


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Leave no space on the disk of a folder while the block runs."""
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as stream:
            while stream.write(_BLOCK) == len(_BLOCK):
                pass
    except OSError:
        pass
    try:
        yield
    finally:
        filler.unlink()


def waiting_for(gate: Path) -> list[str]:
    """Return the arguments of Python that write a line into the file `ran`, then wait for `gate`."""
    begin = f"import os, time\nopen({str(gate.with_name('ran'))!r}, 'a').write('job\\n')\n"
    return ["-c", f"{begin}while not os.path.exists({str(gate)!r}): time.sleep(0.05)"]


def test_a_custom_job_that_ends_on_a_full_disk(small_disk: Path, server_folder: Path, tmp_path: Path) -> None:
    """It is running until its end can be kept, has succeeded then, and a restart does not run it again."""
    gate = tmp_path / "gate"
    with serving(server_folder) as process:
        name = run_job(process, waiting_for(gate))
        wait_for((tmp_path / "ran").exists, 30)
        with filled(small_disk):
            gate.touch()
            wait_for(lambda: not descendants(process.popen.pid), 30)
            meanwhile = job_of(process, name).state.name
        wait_for(lambda: job_of(process, name).state.name == "JOB_STATE_SUCCEEDED", 30)
    with serving(server_folder) as again:
        state = job_of(again, name).state.name

    assert (meanwhile, state) == ("JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED")
    assert (tmp_path / "ran").read_text() == "job\n"


def test_a_pipeline_whose_task_ends_on_a_full_disk(
    small_disk: Path, server_folder: Path, tmp_path: Path
) -> None:
    """The task and the job end when their ends can be kept."""
    with serving(server_folder) as process:
        name = run_pipeline(process, pipeline(tmp_path / "gate"))
        wait_for(lambda: pipeline_states(process, name)[1].get("second") == "RUNNING", 30)
        with filled(small_disk):
            (tmp_path / "gate").touch()
            wait_for(lambda: not descendants(process.popen.pid), 30)
            meanwhile = pipeline_states(process, name)
        wait_for(lambda: pipeline_states(process, name)[0] not in RUNNING, 30)
        ended = pipeline_states(process, name)

    assert meanwhile == ("PIPELINE_STATE_RUNNING", {"first": "SUCCEEDED", "second": "RUNNING"})
    assert ended == ("PIPELINE_STATE_SUCCEEDED", {"first": "SUCCEEDED", "second": "SUCCEEDED"})


def test_a_cancellation_on_a_full_disk(small_disk: Path, server_folder: Path, tmp_path: Path) -> None:
    """A job can be cancelled while nothing can be written, which may be what frees the disk."""
    with serving(server_folder) as process:
        name = run_job(process, waiting_for(tmp_path / "gate"))
        wait_for((tmp_path / "ran").exists, 30)
        with filled(small_disk):
            process.client(aiplatform_v1.JobServiceClient).cancel_custom_job(name=name)
            wait_for(lambda: not descendants(process.popen.pid), 30)
        wait_for(lambda: job_of(process, name).state.name == "JOB_STATE_CANCELLED", 30)


def test_a_server_ends_while_its_disk_is_full(small_disk: Path, server_folder: Path, tmp_path: Path) -> None:
    """Records that wait for the disk do not hold up the end of the server."""
    gate = tmp_path / "gate"
    with serving(server_folder) as process:
        run_job(process, waiting_for(gate))
        wait_for((tmp_path / "ran").exists, 30)
        with filled(small_disk):
            gate.touch()
            wait_for(lambda: not descendants(process.popen.pid), 30)
            process.popen.terminate()
            status = process.popen.wait(30)

    assert status == 0


def deploying(server: Server) -> tuple[Client, str]:
    """Begin to deploy a model whose server is slow to start; return the operation and the endpoint."""
    endpoints = connect(aiplatform_v1.EndpointServiceClient, server, "grpc")
    models = connect(aiplatform_v1.ModelServiceClient, server, "grpc")
    endpoint = endpoints.create_endpoint(parent=PARENT, endpoint={"display_name": "f"}).result().name
    model = upload(models, artifact_uri="gs://bkt/slow").name
    deployed = {"model": model, "automatic_resources": AUTOMATIC}
    return endpoints.deploy_model(endpoint=endpoint, deployed_model=deployed), endpoint


def test_a_deployment_that_ends_on_a_full_disk(small_disk: Path) -> None:
    """The operation ends with the reason when that can be kept; nothing is deployed, no server is left."""
    with running_server(small_disk / "vertex") as server:
        operation, endpoint = deploying(server)
        with filled(small_disk):
            server.models.release.set()
            wait_for(lambda: bool(server.models.containers) and not server.models.running())
        with pytest.raises(exceptions.GoogleAPICallError, match="cannot be written"):
            operation.result(timeout=30)
        endpoints = connect(aiplatform_v1.EndpointServiceClient, server, "grpc")

        assert not endpoints.get_endpoint(name=endpoint).deployed_models


def test_a_refused_write_leaves_the_store_in_order(small_disk: Path) -> None:
    """A request that cannot be kept is RESOURCE_EXHAUSTED, leaves nothing, and works once there is space."""
    with running_server(small_disk / "vertex") as server:
        jobs = connect(aiplatform_v1.JobServiceClient, server, "grpc")
        models = connect(aiplatform_v1.ModelServiceClient, server, "grpc")
        with filled(small_disk):
            with pytest.raises(exceptions.TooManyRequests, match="free some space"):
                jobs.create_custom_job(parent=PARENT, custom_job=custom_job(), retry=None)
            with pytest.raises(exceptions.TooManyRequests, match="free some space"):
                upload(models)
            kept = [*jobs.list_custom_jobs(parent=PARENT), *models.list_models(parent=PARENT)]
        jobs.create_custom_job(parent=PARENT, custom_job=custom_job())
        upload(models)

        assert kept == []
        assert len(list(models.list_models(parent=PARENT))) == 1


def test_predictions_go_on_while_samples_cannot_be_written(small_disk: Path) -> None:
    """A model answers on a full disk; what was counted meanwhile is written when there is space again."""
    clock = Clock()
    sampling = Sampling(period=60, soonest=0, latest=0, clock=clock)
    with running_server(small_disk, sampling=sampling) as server:
        setting = set_up(server, clock)
        with filled(small_disk):
            for _ in range(30):
                setting.predict()
                clock.now += 60
        (series,) = setting.list("prediction_count")

    assert sum(each.value.int64_value for each in series.points) == 30
