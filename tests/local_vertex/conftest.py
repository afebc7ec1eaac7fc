"""A local Vertex AI with a fake engine, and official clients for it over both transports."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform_v1

from local_vertex.composition import Doors, Engines, LocalVertex, Options
from tests.local_vertex.discovery import Recorder
from tests.local_vertex.fakes import FakeCustomJobRunner, FakeModelServers, FakePipelineEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local_vertex.run.ports import JobListener, PipelineRun, RunHistory, RunListener

PROJECT = "taxi-local"
REGION = "us-central1"
PARENT = f"projects/{PROJECT}/locations/{REGION}"
CANONICAL = f"projects/123456789012/locations/{REGION}"

Client: TypeAlias = Any
"""A client or message of the official packages, whose types are incomplete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server with the fakes behind it."""

    rest_port: int
    grpc_port: int
    engine: FakePipelineEngine
    jobs: FakeCustomJobRunner
    models: FakeModelServers

    @property
    def rest_url(self) -> str:
        """The URL of REST."""
        return f"http://127.0.0.1:{self.rest_port}"


@contextmanager
def running_server(
    state: Path,
    *,
    check: Callable[[PipelineRun], object] = lambda _run: None,
    **options: Any,  # noqa: ANN401  # fields of Options
) -> Iterator[Server]:
    """Serve with fakes, on free ports unless told otherwise; then end everything and check what was answered.

    `check` is the engine's door.
    """
    fakes: dict[str, Any] = {"models": FakeModelServers()}

    def build(runs: RunListener, jobs: JobListener, _history: RunHistory) -> Engines:
        fakes["engine"] = FakePipelineEngine(runs, check)
        fakes["jobs"] = FakeCustomJobRunner(jobs)
        return Engines(pipelines=fakes["engine"], custom_jobs=fakes["jobs"], servers=fakes["models"])

    chosen = Options(state=state, project=PROJECT, region=REGION, **options)
    vertex = LocalVertex(chosen, build)
    recorder = Recorder()
    vertex.methods = recorder.watch(vertex.methods)
    doors = Doors(vertex, chosen)
    thread = threading.Thread(target=doors.serve)
    thread.start()
    vertex.recover()
    try:
        yield Server(rest_port=doors.rest_port, grpc_port=doors.grpc_port, **fakes)
    finally:
        doors.stop()
        thread.join(20)
        vertex.close()
    recorder.check()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Return a fresh server."""
    with running_server(tmp_path) as running:
        yield running


def connect(
    client_type: Client, server: Server, transport: str, *, recorder: Recorder | None = None
) -> Client:
    """Return a generated client that speaks to the server over `grpc`, which `recorder` notes, or `rest`."""
    if transport == "rest":
        credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]  # google.auth has none
        return client_type(
            transport=client_type.get_transport_class("rest")(
                host=f"127.0.0.1:{server.rest_port}", credentials=credentials, url_scheme="http"
            )
        )
    channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")
    if recorder is not None:
        channel = recorder.listen(channel)
    return client_type(transport=client_type.get_transport_class("grpc")(channel=channel))


@pytest.fixture(params=["grpc", "rest"])
def transport(request: pytest.FixtureRequest) -> str:
    """Name the transport of the official clients."""
    return str(request.param)


@pytest.fixture
def pipelines(server: Server, transport: str) -> Client:
    """Return the official client of PipelineService."""
    return connect(aiplatform_v1.PipelineServiceClient, server, transport)


@pytest.fixture
def custom_jobs(server: Server, transport: str) -> Client:
    """Return the official client of JobService."""
    return connect(aiplatform_v1.JobServiceClient, server, transport)


@pytest.fixture
def models(server: Server, transport: str) -> Client:
    """Return the official client of ModelService."""
    return connect(aiplatform_v1.ModelServiceClient, server, transport)


@pytest.fixture
def endpoints(server: Server, transport: str) -> Client:
    """Return the official client of EndpointService."""
    return connect(aiplatform_v1.EndpointServiceClient, server, transport)


@pytest.fixture
def prediction(server: Server, transport: str) -> Client:
    """Return the official client of PredictionService."""
    return connect(aiplatform_v1.PredictionServiceClient, server, transport)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Return when the condition holds; fail after a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not true within {seconds} s")
        time.sleep(0.01)


@pytest.fixture
def endpoint(endpoints: Client) -> str:
    """Return the name of a fresh endpoint."""
    created = endpoints.create_endpoint(parent=PARENT, endpoint={"display_name": "fare"}, endpoint_id="7")
    return str(created.result(timeout=5).name)
