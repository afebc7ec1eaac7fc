"""A roll-out under real requests, with the metrics that the local Cloud Monitoring makes of them."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import requests
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.sdk.execution_time import task_runner
from google.protobuf import json_format, struct_pb2

from local_vertex.composition import Options
from local_vertex.monitoring.samples import Sampling
from tests.airflow.promotion import deploy_foreign, live, serving
from tests.airflow.servers import PROJECT, REGION, Running, connect_to
from tests.airflow.tasks import Pushed, context, in_background, run_task
from tests.airflow.test_trigger_kill import Supervisor
from tests.waiting import wait_for
from vertex_airflow import endpoints
from vertex_airflow.guards import Guard, Verdict
from vertex_airflow.objects import ObjectStore
from vertex_airflow.operators.roll_out import RollOutOperator
from vertex_airflow.operators.waiting import VertexError
from vertex_airflow.rollout import Rollout, State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.airflow.promotion import Begin, Promotion
    from tests.airflow.servers import Vertex

# Longer than any test: a step that is only to be held.
HOUR = "20:1h 100"
# Long enough to see a breach, after which a step that does not see it passes.
BRIEF = "20:20s 100"
METRICS: dict[str, Any] = {
    "min_requests": "10",
    "metrics_delay": "0.3",
    # This machine's latencies are noise; the test of the guard has its own bound.
    "max_latency_ratio": "1000",
}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """Return a starter of local Vertex AIs whose metrics have periods of 0.2 s."""
    sampling = Sampling(period=0.2, soonest=0.0, latest=0.1)
    servers = Running(Options(state=tmp_path, project=PROJECT, region=REGION, faults=True, sampling=sampling))
    yield servers
    servers.stop()
    servers.recorder.check()


@pytest.fixture
def vertex(running: Running, monkeypatch: pytest.MonkeyPatch) -> Vertex:
    """Return a local Vertex AI; the connection's Cloud Monitoring is there as well."""
    started = running.start()
    address = f"http://127.0.0.1:{started.grpc_port}"
    connect_to(started.grpc_port, monkeypatch, monitoring_endpoint=address)
    return started


@pytest.fixture
def second(begin: Begin) -> Promotion:
    """Return a run whose version is deployed without traffic beside the champion."""
    begin("run-1").promote()
    return begin("run-2").prepare()


def task_of(run: Promotion, plan: str = "20:0.3s 50:0.3s 100", **changes: Any) -> RollOutOperator:  # noqa: ANN401  # arguments of the operator
    """Return the task that rolls a version out."""
    arguments = {"plan": plan, "rollout_uri": uri_of(run), **METRICS, **run.common, **changes}
    return RollOutOperator(task_id="compile", **arguments)


def uri_of(run: Promotion) -> str:
    """Return where the roll-out of a run is written down."""
    return f"{run.folder}/runs/{run.run_id}/rollout.json"


def document(run: Promotion) -> Rollout:
    """Return the roll-out as it is written down."""
    return Rollout.from_json(ObjectStore(gcp_conn_id="google_cloud_default").read(uri_of(run)))


def order(vertex: Vertex, run: Promotion, fault: str, share: float = 1.0) -> None:
    """Order a fault of a version's server."""
    requests.post(
        f"http://127.0.0.1:{vertex.doors.rest_port}/faults",
        json={"deployed_model": run.deployed, "fault": fault, "share": share},
        timeout=10,
    ).raise_for_status()


@contextmanager
def asking(vertex: Vertex) -> Iterator[list[Exception]]:
    """Request fares beside the block, by a few threads; the list has what failed."""
    stop = threading.Event()
    failures: list[Exception] = []
    hook, name = vertex.hook, live(vertex).name
    instance = json_format.ParseDict({"fare_miles": 1}, struct_pb2.Value())

    def ask() -> None:
        while not stop.wait(0.01):
            try:
                hook.predictions.predict(endpoint=name, instances=[instance], timeout=10)
            except Exception as error:  # noqa: BLE001  # the test counts all of them
                failures.append(error)

    threads = [in_background(ask) for _ in range(4)]
    try:
        yield failures
    finally:
        stop.set()
        for each in threads:
            each.join()
        hook.close()


def hold(task: RollOutOperator, ctx: Any) -> TaskDeferred:  # noqa: ANN401  # Airflow's Context
    """Run a task until it defers, and return what it waits with."""
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(ctx)
    return deferred.value


@pytest.mark.parametrize("deferrable", [True, False])
def test_steps_lead_to_all_traffic(vertex: Vertex, second: Promotion, deferrable: bool) -> None:  # noqa: FBT001  # a case
    """Each step has enough requests and no breach; no request fails, and the version is the champion."""
    with asking(vertex) as failures:
        returned = run_task(task_of(second, deferrable=deferrable), context())

    written = document(second)
    assert (failures, serving(vertex)) == ([], {"2": 100})
    assert returned == {"endpoint": live(vertex).name, "deployed_model": second.deployed}
    assert "champion" in second.aliases
    assert (written.state, [each.percent for each in written.steps]) == (State.DONE, [20, 50, 100])
    for step in written.steps[:2]:
        assert step.requests >= 10
        assert {each.guard: each.verdict for each in step.guards} == dict.fromkeys(Guard, Verdict.PASSED)


def test_a_plan_of_one_step_needs_no_metrics(vertex: Vertex, second: Promotion) -> None:
    """All traffic at once, as without a roll-out."""
    run_task(task_of(second, "100"), context())

    assert (serving(vertex), document(second).state) == ({"2": 100}, State.DONE)


def test_a_first_version_has_nothing_to_be_compared_with(vertex: Vertex, begin: Begin) -> None:
    """It gets all traffic at once."""
    first = begin("run-1").prepare()

    run_task(task_of(first, HOUR), context())

    assert (serving(vertex), document(first).champion) == ({"1": 100}, "")


def test_errors_roll_back(vertex: Vertex, second: Promotion) -> None:
    """The step ends at once, and the reason has metric, observed, allowed and window."""
    order(vertex, second, "fail=INTERNAL", share=0.8)
    words = r"with 20 % of the traffic, error_rate was \d+\.\d+% between .* UTC, and 1\.00% is allowed"
    with asking(vertex), pytest.raises(AirflowFailException, match=words):
        run_task(task_of(second, BRIEF), context())

    written = document(second)
    reading = written.steps[-1].reading(Guard.ERROR_RATE)
    assert (serving(vertex), written.state) == ({"1": 100}, State.ROLLED_BACK)
    assert "error_rate was" in written.reason
    assert reading is not None
    assert reading.verdict is Verdict.BREACHED
    assert reading.observed > 0.01


def test_latency_rolls_back(vertex: Vertex, second: Promotion) -> None:
    """A model that is much slower than the champion at the same time gives the traffic back."""
    order(vertex, second, "delay=0.4")
    words = r"latency_p95 was \d+\.\d ms between .* UTC, and \d+\.\d ms is allowed"
    with asking(vertex), pytest.raises(AirflowFailException, match=words):
        run_task(task_of(second, BRIEF, max_latency_ratio="1.5"), context())

    assert (serving(vertex), document(second).state) == ({"1": 100}, State.ROLLED_BACK)


def test_too_few_requests_wait_and_then_roll_back(vertex: Vertex, second: Promotion) -> None:
    """No data is no health: the step does not pass when its time is over."""
    task = task_of(second, "20:0.1s 100", longest_wait="1")
    with pytest.raises(AirflowFailException, match=r"the model answered 0 requests .* and 10 are needed"):
        run_task(task, context())

    (step,) = document(second).steps
    reading = step.reading(Guard.REQUESTS)
    assert serving(vertex) == {"1": 100}
    assert reading is not None
    assert reading.verdict is Verdict.NO_DATA


def test_metrics_that_cannot_be_read_roll_back(vertex: Vertex, second: Promotion) -> None:
    """A missing role is not health; the reason has the error."""
    vertex.order("ListTimeSeries", "fail=PERMISSION_DENIED", calls=100)
    with pytest.raises(AirflowFailException, match="the metrics cannot be read: PermissionDenied"):
        run_task(task_of(second, HOUR), context())

    assert serving(vertex) == {"1": 100}


def test_a_rolled_back_version_stays_so(vertex: Vertex, second: Promotion) -> None:
    """Another try says the same reason, and moves nothing."""
    task = task_of(second, "20:0.1s 100", longest_wait="0")
    said = []
    for _ in range(2):
        with pytest.raises(AirflowFailException) as failure:
            run_task(task, context())
        said.append(str(failure.value))

    assert said[0] == said[1]
    assert serving(vertex) == {"1": 100}


def test_another_try_goes_on_with_the_step(vertex: Vertex, second: Promotion) -> None:
    """A try that was lost while it held a step leaves it; the next one neither begins nor repeats it."""
    hold(task_of(second, HOUR), context())
    before = document(second)

    waiting = hold(task_of(second, HOUR), context())

    assert (document(second), serving(vertex)) == (before, {"1": 80, "2": 20})
    assert waiting.trigger.baking.began == pytest.approx(before.steps[-1].began, abs=1e-3)


@pytest.mark.parametrize("steps", [(), (20,)], ids=["the first", "a later one"])
def test_a_change_without_its_record_is_adopted(
    vertex: Vertex, second: Promotion, steps: tuple[int, ...]
) -> None:
    """A try that died between the change of the traffic and the write: the endpoint has the step."""
    plan = "20:1h 50:1h 100"
    for _ in steps:
        hold(task_of(second, plan), context())
    share = 50 if steps else 20
    own = second.deployed
    (other,) = {*live(vertex).split} - {own}
    endpoints.set_traffic(vertex.hook, live(vertex), {str(own): share, other: 100 - share})

    hold(task_of(second, plan), context())

    assert serving(vertex) == {"1": 100 - share, "2": share}
    assert [each.percent for each in document(second).steps] == [*steps, share]


def test_a_write_that_fails_is_followed_by_a_look(
    vertex: Vertex, second: Promotion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies right after the change of the traffic; then another try."""

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ObjectStore, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            task_of(second, HOUR).execute(context())
    assert serving(vertex) == {"1": 80, "2": 20}

    hold(task_of(second, HOUR), context())

    assert (serving(vertex), len(document(second).steps)) == ({"1": 80, "2": 20}, 1)


def test_a_lost_reply_is_followed_by_a_look(
    vertex: Vertex, second: Promotion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the change of the traffic nor the write is made twice."""
    vertex.order("UpdateEndpoint", "lose-reply")
    replace = ObjectStore.replace
    written: list[int | None] = []

    def lose_reply(*given: Any, **fields: Any) -> int | None:  # noqa: ANN401  # arguments of replace
        written.append(replace(*given, **fields))
        return None

    monkeypatch.setattr(ObjectStore, "replace", lose_reply)

    hold(task_of(second, HOUR), context())

    assert (serving(vertex), vertex.orders(), len(written)) == ({"1": 80, "2": 20}, [], 1)
    assert len(document(second).steps) == 1


def test_a_new_champion_in_the_meantime_keeps_the_traffic(vertex: Vertex, second: Promotion) -> None:
    """A step is held against what the run was compared with; whatever serves instead gets the share."""
    hold(task_of(second, HOUR), context())
    split = {"0": 80, str(second.deployed): 20}
    other = deploy_foreign(vertex, split=split)

    with pytest.raises(AirflowFailException, match=r"had none; start a new run"):
        run_task(task_of(second, HOUR), context())

    assert live(vertex).split == {other: 100}
    assert document(second).state is State.ROLLED_BACK


@pytest.mark.parametrize("share", [0, 35])
def test_a_person_who_changes_the_traffic_ends_it(vertex: Vertex, second: Promotion, share: int) -> None:
    """The share that somebody else gave is given back, and the reason says so."""
    hold(task_of(second, HOUR), context())
    own = second.deployed
    (other,) = {*live(vertex).split} - {own}
    split = {str(own): share, other: 100 - share}
    endpoints.set_traffic(vertex.hook, live(vertex), {each: part for each, part in split.items() if part})

    with pytest.raises(AirflowFailException, match=f"somebody else gave it {share} % of the traffic"):
        run_task(task_of(second, HOUR), context())

    assert (serving(vertex), document(second).state) == ({"1": 100}, State.ROLLED_BACK)


@pytest.mark.parametrize(("state", "expected"), [("failed", {"1": 100}), ("deferred", {"1": 80, "2": 20})])
def test_a_person_who_ends_a_waiting_task_gets_the_traffic_back(
    vertex: Vertex,
    second: Promotion,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    expected: dict[str, int],
) -> None:
    """A trigger that was only given to another triggerer leaves the traffic alone."""
    ctx = context()
    ctx["ti"] = Pushed(task_id="compile")
    trigger: Any = hold(task_of(second, HOUR), ctx).trigger
    trigger.task_instance = SimpleNamespace(
        dag_id="taxi_training", run_id="manual__1", task_id="compile", map_index=-1, try_number=1
    )
    supervisor = Supervisor(state=state, xcom=ctx["ti"].xcom)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)

    asyncio.run(trigger.on_kill())

    assert (serving(vertex), document(second).state) == (expected, State.RUNNING)


def test_a_task_that_was_ended_and_cleared_repeats_its_step(vertex: Vertex, second: Promotion) -> None:
    """The step begins anew, with its whole time."""
    ended: Any = hold(task_of(second, HOUR), context()).trigger
    asyncio.run(ended.undo())
    assert serving(vertex) == {"1": 100}

    hold(task_of(second, HOUR), context())

    first, again = document(second).steps
    assert (first.percent, again.percent, again.ended) == (20, 20, None)
    assert serving(vertex) == {"1": 80, "2": 20}
    asyncio.run(ended.undo())
    assert serving(vertex) == {"1": 80, "2": 20}


def test_a_worker_that_is_stopped_gives_the_traffic_back(vertex: Vertex, second: Promotion) -> None:
    """While it waits in the worker; the failure allows another try."""
    task = task_of(second, HOUR, deferrable=False)

    def kill() -> None:
        wait_for(lambda: "2" in serving(vertex))
        task.on_kill()

    beside = in_background(kill)
    with pytest.raises(VertexError, match="killed"):
        task.execute(context())
    beside.join()

    assert (serving(vertex), document(second).state) == ({"1": 100}, State.RUNNING)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plan": "10:15m"}, "plan: the roll-out '10:15m' does not end with 100"),
        ({"min_requests": "many"}, "a bound of the roll-out is wrong: .*'many'"),
        ({"max_error_rate": "2"}, "a bound of the roll-out is wrong: max_error_rate"),
        ({"without_metrics": "continue"}, "a bound of the roll-out is wrong: 'continue'"),
        ({"rollout_uri": ""}, "rollout_uri is empty"),
    ],
)
def test_wrong_arguments_change_nothing(
    vertex: Vertex, second: Promotion, changes: dict[str, str], message: str
) -> None:
    """They fail for good before the traffic moves."""
    with pytest.raises(AirflowFailException, match=message):
        run_task(task_of(second, **{"plan": HOUR, **changes}), context())

    assert serving(vertex) == {"1": 100}
