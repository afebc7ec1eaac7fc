"""A local Vertex AI that does what a test orders, and the connection that points to it."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from local_vertex.composition import Doors, Engines, LocalVertex
from tests.local_vertex.discovery import Recorder
from tests.local_vertex.fakes import FakeCustomJobRunner, FakeModelServers, FakePipelineEngine
from vertex_airflow.hooks.vertex import VertexHook

if TYPE_CHECKING:
    import pytest

    from local_vertex.composition import Options
    from local_vertex.run.ports import JobListener, RunHistory, RunListener


REPOSITORY = Path(__file__).parents[2]
PROJECT = "taxi-local"
REGION = "us-central1"
SETTINGS = {
    "TAXI_PROJECT": PROJECT,
    "TAXI_BUCKET": "gs://taxi-local",
    "TAXI_PIPELINE_IMAGE": "taxi-vertex/pipeline:local",
}


class Fares(FakeModelServers):
    """Model servers that answer `fare` to every trip, except for the deployed models in `refusing`.

    With a `url` they pass all requests on to the server there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fare: float | None = 12.5
        self.refusing: set[str] = set()
        self.url = ""

    def predict(self, deployed_model_id: str, body: bytes) -> tuple[int, bytes]:
        """Answer one fare per instance."""
        super().predict(deployed_model_id, body)
        if deployed_model_id in self.refusing:
            return 400, b'{"error": "instances[0]: no such feature"}'
        if self.url:
            answer = requests.post(self.url, body, timeout=60)
            return answer.status_code, answer.content
        instances = json.loads(body)["instances"]
        return 200, json.dumps({"predictions": [self.fare for _ in instances]}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Vertex:
    """A running local Vertex AI with the fakes behind it."""

    state: Path
    grpc_port: int
    engine: FakePipelineEngine
    jobs: FakeCustomJobRunner
    servers: Fares
    doors: Doors

    @property
    def hook(self) -> VertexHook:
        """Return a hook of the connection that `connection` sets up."""
        return VertexHook(region=REGION)

    def order(self, method: str, fault: str, calls: int = 1) -> None:
        """Order a fault on the wire for the next calls of a method."""
        requests.post(
            f"http://127.0.0.1:{self.doors.rest_port}/faults",
            json={"method": method, "fault": fault, "calls": calls},
            timeout=10,
        ).raise_for_status()

    def orders(self) -> list[dict[str, Any]]:
        """Return the faults that no call has met yet."""
        answer = requests.get(f"http://127.0.0.1:{self.doors.rest_port}/faults", timeout=10)
        left: list[dict[str, Any]] = answer.json()["faults"]
        return left


class Running:
    """Starts local Vertex AIs one after the other with the same options, and ends the last one."""

    def __init__(self, options: Options) -> None:
        self.recorder = Recorder(requests=True)
        self._options = options
        self._open: tuple[Doors, LocalVertex, threading.Thread] | None = None

    def start(self, **changes: bool) -> Vertex:
        """Start one, with some options changed, on the gRPC port of the one before."""
        fakes: dict[str, Any] = {"servers": Fares()}

        def build(runs: RunListener, jobs: JobListener, _history: RunHistory) -> Engines:
            fakes["engine"] = FakePipelineEngine(runs)
            fakes["jobs"] = FakeCustomJobRunner(jobs)
            return Engines(pipelines=fakes["engine"], custom_jobs=fakes["jobs"], servers=fakes["servers"])

        options = replace(self._options, **changes)  # type: ignore[arg-type]  # switches only
        vertex = LocalVertex(options, build)
        vertex.methods = self.recorder.watch(vertex.methods)
        doors = Doors(vertex, options)
        thread = threading.Thread(target=doors.serve)
        thread.start()
        vertex.recover()
        self._options = replace(options, grpc_port=doors.grpc_port)
        self._open = (doors, vertex, thread)
        return Vertex(state=options.state, grpc_port=doors.grpc_port, doors=doors, **fakes)

    def stop(self) -> None:
        """End the one that runs."""
        if self._open is not None:
            doors, vertex, thread = self._open
            self._open = None
            doors.stop()
            thread.join(20)
            vertex.close()


def connect_to_all(monkeypatch: pytest.MonkeyPatch, **extra: str) -> None:
    """Point the connection to the Vertex AI of `whole_cloud` and its registry, except for what is given."""
    fields = {"registry_endpoint": os.environ["REGISTRY"], **extra}
    connect_to(int(os.environ["VERTEX_GRPC"]), monkeypatch, **fields)


def connect_to(grpc_port: int, monkeypatch: pytest.MonkeyPatch, **extra: str) -> None:
    """Point the default connection to a port of this machine."""
    connection = {
        "conn_type": "google_cloud_platform",
        "extra": {
            "is_anonymous": True,
            "project": PROJECT,
            "vertex_endpoint": f"http://127.0.0.1:{grpc_port}",
            **extra,
        },
    }
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(connection))
