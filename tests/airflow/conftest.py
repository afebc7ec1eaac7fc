"""Fixtures of the operators' tests: a local Vertex AI, connections to it, and folders of Cloud Storage."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local_gcp.layout import BUCKET
from local_vertex.composition import Options
from local_vertex.domain.past import NO_LAGS
from local_vertex.images import ImageRule, ImageTable
from tests.airflow.servers import PROJECT, REGION, REPOSITORY, Running, connect_to, connect_to_all
from vertex_airflow.objects import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_vertex.domain.past import Lags
    from tests.airflow.promotion import Begin
    from tests.airflow.servers import Vertex
    from tests.local_stack import LocalStack


@pytest.fixture
def lags() -> Lags:
    """Return how far the local Vertex AI lags behind; a module that needs a lag parametrizes this."""
    return NO_LAGS


@pytest.fixture
def running(tmp_path: Path, lags: Lags) -> Iterator[Running]:
    """Return a starter of local Vertex AIs, which also stops them."""
    servers = Running(Options(state=tmp_path, project=PROJECT, region=REGION, faults=True, lags=lags))
    yield servers
    servers.stop()
    servers.recorder.check()


@pytest.fixture
def running_with_images(tmp_path: Path) -> Iterator[Running]:
    """A local cloud that also has the pipeline image, built from the current code, and a stale one."""
    fresh = ImageRule(
        image="taxi-vertex/pipeline:local",
        interpreter=Path(sys.executable),
        environment={"PYTHONPATH": str(REPOSITORY)},
        labels=("-m", "taxi_ml.image"),
    )
    stale = ImageRule(
        image="taxi-vertex/pipeline:stale",
        interpreter=Path(sys.executable),
        labels=("-c", "print('taxi-vertex.code=0', 'taxi-vertex.lock=1', sep='\\n')"),
    )
    images = ImageTable(rules=(fresh, stale))
    servers = Running(Options(state=tmp_path, project=PROJECT, region=REGION, images=images))
    yield servers
    servers.stop()
    servers.recorder.check()


@pytest.fixture
def whole_cloud(
    stack: LocalStack, running_with_images: Running, monkeypatch: pytest.MonkeyPatch
) -> LocalStack:
    """Point connection and settings to a local cloud in which a run can start."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    vertex = running_with_images.start()
    monkeypatch.setenv("VERTEX_GRPC", str(vertex.grpc_port))
    monkeypatch.setenv("REGISTRY", f"http://127.0.0.1:{vertex.doors.rest_port}")
    connect_to_all(monkeypatch)
    return stack


@pytest.fixture
def vertex(running: Running, monkeypatch: pytest.MonkeyPatch) -> Vertex:
    """Return a fresh local Vertex AI, to which the default connection points."""
    started = running.start()
    connect_to(started.grpc_port, monkeypatch)
    return started


@pytest.fixture
def cloud(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> LocalStack:
    """Point connection and settings to the local cloud, which has no Vertex AI to look at for the months."""
    for name, value in {**stack.environment, "TAXI_TEST_MONTHS": "1"}.items():
        monkeypatch.setenv(name, value)
    connect_to(1, monkeypatch)
    return stack


@pytest.fixture
def store() -> ObjectStore:
    """Return the operators' own client of Cloud Storage."""
    return ObjectStore(gcp_conn_id="google_cloud_default")


@pytest.fixture
def bucket(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a folder of the local Cloud Storage for this test alone; the connection points to it."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", stack.environment["STORAGE_EMULATOR_HOST"])
    return f"gs://{BUCKET}/tests/{uuid.uuid4().hex}"


@pytest.fixture
def begin(vertex: Vertex, bucket: str) -> Begin:
    """Return a function that begins a DAG run: `begin("run-1")` has looked at the endpoint."""
    from tests.airflow.promotion import Promotion  # noqa: PLC0415  # it takes what this module makes

    def start(run_id: str, kind: str = "", **fields: Any) -> Promotion:  # noqa: ANN401  # Promotion's
        return Promotion(vertex=vertex, folder=bucket, run_id=run_id, kind=kind, **fields).begin()

    return start
