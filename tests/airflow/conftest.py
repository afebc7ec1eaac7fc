"""A local Vertex AI that does what a test says, and what Airflow hands to an operator."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import requests
from airflow.sdk.exceptions import TaskDeferred

from local_gcp.layout import BUCKET
from local_vertex.composition import Doors, Engines, LocalVertex, Options
from local_vertex.domain.past import NO_LAGS
from local_vertex.images import ImageRule, ImageTable
from taxi_airflow.runs import PINNED_BY, Run
from tests.local_vertex.conftest import wait_for
from tests.local_vertex.discovery import Recorder
from tests.local_vertex.fakes import FakeCustomJobRunner, FakeModelServers, FakePipelineEngine
from vertex_airflow.hooks.vertex import VertexHook
from vertex_airflow.objects import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow.sdk import BaseOperator

    from local_vertex.domain.past import Lags
    from local_vertex.run.ports import JobListener, RunHistory, RunListener
    from tests.airflow.promotion import Begin
    from tests.conftest import LocalStack

REPOSITORY = Path(__file__).parents[2]
PROJECT = "taxi-local"
REGION = "us-central1"
LOCATION = f"projects/123456789012/locations/{REGION}"
SETTINGS = {
    "TAXI_PROJECT": PROJECT,
    "TAXI_BUCKET": "gs://taxi-local",
    "TAXI_PIPELINE_IMAGE": "taxi-vertex/pipeline:local",
}


class Fares(FakeModelServers):
    """Model servers that answer `fare` to every trip."""

    def __init__(self) -> None:
        super().__init__()
        self.fare: float | None = 12.5

    def predict(self, deployed_model_id: str, body: bytes) -> tuple[int, bytes]:
        """Answer one fare an instance."""
        super().predict(deployed_model_id, body)
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


@pytest.fixture
def lags() -> Lags:
    """Return how far the local Vertex AI lags behind; a module that wants it to parametrizes this."""
    return NO_LAGS


@pytest.fixture
def running(tmp_path: Path, lags: Lags) -> Iterator[Running]:
    """Return what starts and stops local Vertex AIs."""
    servers = Running(Options(state=tmp_path, project=PROJECT, region=REGION, faults=True, lags=lags))
    yield servers
    servers.stop()
    servers.recorder.check()


@pytest.fixture
def running_with_images(tmp_path: Path) -> Iterator[Running]:
    """The same with the pipeline image, made of the code that is here, and a stale one."""
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
    """Lead connection and settings to a local cloud in which a run can start."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    vertex = running_with_images.start()
    monkeypatch.setenv("VERTEX_GRPC", str(vertex.grpc_port))
    monkeypatch.setenv("REGISTRY", f"http://127.0.0.1:{vertex.doors.rest_port}")
    connect_to_all(monkeypatch)
    return stack


def connect_to_all(monkeypatch: pytest.MonkeyPatch, **extra: str) -> None:
    """Make the connection lead to the Vertex AI of `whole_cloud` and its registry, but for what is given."""
    fields = {"registry_endpoint": os.environ["REGISTRY"], **extra}
    connect_to(int(os.environ["VERTEX_GRPC"]), monkeypatch, **fields)


@pytest.fixture
def vertex(running: Running, monkeypatch: pytest.MonkeyPatch) -> Vertex:
    """Return a fresh local Vertex AI, to which the default connection leads."""
    started = running.start()
    connect_to(started.grpc_port, monkeypatch)
    return started


def connect_to(grpc_port: int, monkeypatch: pytest.MonkeyPatch, **extra: str) -> None:
    """Make the default connection lead to a port of this machine."""
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


@pytest.fixture
def cloud(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> LocalStack:
    """Lead connection and settings to the local cloud."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    connect_to(1, monkeypatch)
    return stack


@pytest.fixture
def store() -> ObjectStore:
    """Return the operators' own door to Cloud Storage."""
    return ObjectStore(gcp_conn_id="google_cloud_default")


@pytest.fixture
def bucket(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a folder of the local Cloud Storage that no other test uses, to which the connection leads."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", stack.environment["STORAGE_EMULATOR_HOST"])
    return f"gs://{BUCKET}/tests/{uuid.uuid4().hex}"


@pytest.fixture
def begin(vertex: Vertex, bucket: str) -> Begin:
    """Return what begins a DAG run: `begin("run-1")` has looked at the endpoint."""
    from tests.airflow.promotion import Promotion  # noqa: PLC0415  # it takes what this module makes

    def start(run_id: str, kind: str = "", **fields: Any) -> Promotion:  # noqa: ANN401  # Promotion's
        return Promotion(vertex=vertex, folder=bucket, run_id=run_id, kind=kind, **fields).begin()

    return start


@dataclass(slots=True)
class Pushed:
    """A task instance as far as operators see it; XCom is a dictionary."""

    task_id: str = "task"
    map_index: int = -1
    try_number: int = 1
    xcom: dict[str, Any] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    pulled: dict[str, Any] = field(default_factory=dict)
    pin: Callable[[], Run] | None = None

    def xcom_pull(self, *, task_ids: str) -> Any:  # noqa: ANN401  # Airflow's
        """Return what a task returned; validate pins the run by the environment at the first pull."""
        if task_ids == PINNED_BY and self.pin and PINNED_BY not in self.pulled:
            uri = f"gs://{BUCKET}/tests/{uuid.uuid4().hex}/run.json"
            ObjectStore(gcp_conn_id="google_cloud_default").write(uri, self.pin().to_json())
            self.pulled[PINNED_BY] = {"run": uri}
        return self.pulled.get(task_ids)

    def get_task_states(self, *, dag_id: str, run_ids: list[str]) -> dict[str, dict[str, str]]:
        """Return the states of the run's tasks."""
        del dag_id
        return dict.fromkeys(run_ids, self.states)

    def xcom_push(self, key: str, value: Any) -> None:  # noqa: ANN401  # Airflow's
        """Keep a value."""
        self.xcom[key] = value


def context(
    run_id: str = "manual__1",
    *,
    params: Mapping[str, Any] | None = None,
    conf: Mapping[str, Any] | None = None,
    interval_end: datetime | None = datetime(2015, 7, 1, tzinfo=UTC),
) -> Any:  # noqa: ANN401  # Airflow's Context
    """Return what Airflow hands to the execute() of a task in this DAG run, after validate."""
    dag_run = SimpleNamespace(
        dag_id="taxi_training",
        run_id=run_id,
        data_interval_end=interval_end,
        run_after=datetime(2015, 8, 17, 12, tzinfo=UTC),
        start_date=datetime(2015, 8, 17, 12, tzinfo=UTC),
        conf=dict(conf or {}),
    )
    given = dict(params or {})
    dag = SimpleNamespace(params=given)
    ti = Pushed(pin=lambda: Run.of(dag_run, given, SETTINGS | os.environ))
    return {"dag_run": dag_run, "dag": dag, "params": given, "ti": ti, "run_id": run_id}


def run_task(operator: BaseOperator, ctx: Any) -> Any:  # noqa: ANN401  # Airflow's Context; what XCom takes
    """Run an operator as worker and triggerer do: each trigger is built again from what it serializes."""
    try:
        return operator.execute(ctx)
    except TaskDeferred as deferred:
        waiting = deferred
    while True:
        event = asyncio.run(first_event(waiting.trigger))
        resume = getattr(operator, waiting.method_name)
        try:
            return resume(ctx, event=event, **(waiting.kwargs or {}))
        except TaskDeferred as deferred:
            waiting = deferred


async def first_event(trigger: Any) -> Any:  # noqa: ANN401  # Airflow's BaseTrigger; its event's payload
    """Build a trigger again from its serialized form and return the payload of its event."""
    _, arguments = trigger.serialize()
    again = type(trigger)(**json.loads(json.dumps(arguments)))
    async for event in again.run():
        return event.payload
    return None


@contextmanager
def killing(task: BaseOperator, when: Callable[[], bool]) -> Iterator[None]:
    """Kill a task as soon as `when` holds, beside the block that runs it."""

    def kill() -> None:
        wait_for(when)
        task.on_kill()

    beside = in_background(kill)
    yield
    beside.join()


def in_background(work: Any) -> threading.Thread:  # noqa: ANN401  # any callable
    """Run a test's second actor beside the first; join it."""
    thread = threading.Thread(target=work)
    thread.start()
    return thread
