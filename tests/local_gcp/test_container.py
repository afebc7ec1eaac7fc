"""Tests of a service of the local cloud in a container."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_gcp import container, ports
from local_gcp.errors import LocalCloudError
from local_gcp.layout import BUCKET
from local_gcp.services import VERTEX, client_environment, told_addresses

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = Path(__file__).with_name("contained_gcs.py")
REPOSITORY = Path(__file__).parents[2]
STOP_SECONDS = 20

pytestmark = pytest.mark.stack


@contextmanager
def _running(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(SCRIPT), str(folder / "state"), str(port), str(folder / "ready")]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}) as process:
        try:
            _await(folder / "ready", process)
            yield process
        finally:
            process.terminate()


def _await(file: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"{file} was not written; exit status {process.poll()}")
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def port() -> int:
    """A free port."""
    return ports.assign(["gcs"], {})["gcs"]


def test_service_is_ready_when_it_holds_what_it_should(tmp_path: Path, port: int) -> None:
    """Once the ready file exists, Cloud Storage has its bucket."""
    with (
        _running(tmp_path, port),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/storage/v1/b/{BUCKET}", timeout=10) as answer,
    ):
        assert answer.status == 200


def test_service_is_asked_to_stop_with_its_container(tmp_path: Path, port: int) -> None:
    """SIGTERM ends the service, which frees its port."""
    with _running(tmp_path, port) as process:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)

    assert ports.is_free(port)


def test_container_ends_with_the_status_of_its_service(tmp_path: Path, port: int) -> None:
    """A container whose service dies ends as well, for the engine to restart it."""
    with _running(tmp_path, port) as process:
        (service,) = _children(process.pid)
        (server,) = _children(service)
        os.kill(service, signal.SIGKILL)
        status = process.wait(STOP_SECONDS)
        os.kill(server, signal.SIGKILL)  # the engine does this with every process of a container

    assert status != 0


def test_clients_in_other_containers_are_told_names(tmp_path: Path) -> None:
    """In a network of containers each service is reached by its own name."""
    where = container.setting({"LOCAL_GCP_STATE_DIR": str(tmp_path)})

    assert where.url("bigquery.rest") == "http://bigquery:9050"


def test_browser_is_told_another_address(tmp_path: Path) -> None:
    """Links in Airflow lead to the published port: a browser is in no network of containers."""
    console = "http://127.0.0.1:2/console"
    environ = {"LOCAL_GCP_STATE_DIR": str(tmp_path), container.CONSOLE_VARIABLE: console}
    connection = client_environment(container.setting(environ))["AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"]

    assert json.loads(connection)["extra"]["vertex_console"] == console


def test_servers_are_told_their_addresses(tmp_path: Path) -> None:
    """A server in a container is reached by its name, and from outside by what LOCAL_GCP_HOSTS says."""
    environ = {"LOCAL_GCP_STATE_DIR": str(tmp_path), "LOCAL_GCP_HOSTS": "127.0.0.1:2, localhost:2,"}
    command = VERTEX.build(container.setting(environ)).command

    assert [option for option in command if option.startswith("--allow-host")] == [
        "--allow-host=vertex:8090",
        "--allow-host=127.0.0.1:2",
        "--allow-host=localhost:2",
    ]


@pytest.mark.parametrize("address", ["http://localhost:8090", "localhost:8090/console", "*", "a b"])
def test_addresses_are_read_at_the_door(address: str) -> None:
    """A string that is not a valid Host is refused with the variable's name."""
    with pytest.raises(LocalCloudError, match=r"LOCAL_GCP_HOSTS has .* write host:port"):
        told_addresses({"LOCAL_GCP_HOSTS": f"localhost:1,{address}"})
