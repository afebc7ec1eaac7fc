"""A local Vertex AI over fakes, and official clients for it over both transports."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from google.auth.credentials import AnonymousCredentials

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
