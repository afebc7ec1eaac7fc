from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from local_vertex.domain.past import NO_LAGS, Lags
from taxi_ml.promotion.golden_check import GoldenCheckRecord
from tests.airflow.promotion import (
    FAST,
    LAGGING,
    NAME,
    NO_ANCHOR,
    count_versions,
    deploy_foreign,
    live,
    serving,
)
from tests.airflow.tasks import context, killing, run_task
from vertex_airflow import endpoints, model_registry
from vertex_airflow.names import ModelName
from vertex_airflow.operators.deploy import RecordBaselineOperator
from vertex_airflow.operators.register import RegisterModelVersionOperator
from vertex_airflow.operators.waiting import VertexError

if TYPE_CHECKING:
    from tests.airflow.promotion import Begin
    from tests.airflow.servers import Vertex
    from vertex_airflow.objects import ObjectStore
    from vertex_airflow.operators.deploy import DeployModelOperator


@pytest.fixture(params=LAGGING)
def lags(request: pytest.FixtureRequest) -> Lags:
    """Promote on a service that is current, and on one whose lists and traffic lag behind."""
    chosen: Lags = LAGGING[request.param]
    return chosen


def test_nothing_serves_at_first(begin: Begin) -> None:
    """Without an endpoint there is no champion, which is not an error."""
    assert begin("run-1").champion == {"name": "", "uri": "", **NO_ANCHOR}


@pytest.mark.parametrize("lags", [NO_LAGS], ids=["current"])
def test_any_dag_records_what_serves(vertex: Vertex, bucket: str) -> None:
    """The first look of a run is kept, whatever serves, and whatever serves later."""
    deploy_foreign(vertex, split={"0": 100})
    task = RecordBaselineOperator(
        task_id="record", endpoint_name=NAME, baseline_uri=f"{bucket}/baseline.json", **FAST
    )
    (serving_now,) = live(vertex).deployed.values()
    first = run_task(task, context())
    deploy_foreign(vertex, "gs://bucket/later", split={"0": 100})

    again = run_task(task, context())

    assert first == again == {"name": str(serving_now), "uri": ""}


def test_a_first_promotion_serves_everything(vertex: Vertex, begin: Begin) -> None:
    """The first model gets all traffic, and is the champion by traffic and by alias."""
    first = begin("run-1").promote()

    assert serving(vertex) == {"1": 100}
    assert "champion" in first.aliases
    assert begin("run-2").champion["uri"] == first.artifact


def test_a_second_promotion_replaces_the_first(vertex: Vertex, begin: Begin) -> None:
    """One model, two versions, one deployed model: nothing piles up."""
    models = {begin(run).promote().model.partition("@")[0] for run in ("run-1", "run-2")}

    assert (len(models), count_versions(vertex), len(live(vertex).deployed)) == (1, 2, 1)
    assert serving(vertex) == {"2": 100}


def test_aliases_move_with_the_champion(begin: Begin) -> None:
    """Champion, challenger and default point to the version that was promoted last."""
    first = begin("run-1").promote()
    second = begin("run-2").promote()

    assert (first.aliases, second.aliases) == (set(), {"champion", "challenger", "default"})


def test_default_does_not_move_before_the_promotion(begin: Begin) -> None:
    """A model's name without a version means what serves, not what is being tried."""
    first = begin("run-1").promote()
    second = begin("run-2").prepare()

    assert (first.aliases, second.aliases) == ({"champion", "default"}, {"challenger"})


def test_registering_again_attaches(vertex: Vertex, begin: Begin) -> None:
    """Another try of the same run finds its version."""
    run = begin("run-1").register()
    first = run.model

    again = run.register().model

    assert (first, 1) == (again, count_versions(vertex))


def test_another_artifact_of_a_run_is_another_version(begin: Begin) -> None:
    """A run that was cleared and trained again registers what it trained."""
    run = begin("run-1").register()
    first = run.model
    run.kind = "-again"

    assert first != run.register().model


def test_deploying_again_attaches(vertex: Vertex, begin: Begin) -> None:
    """A version that is deployed is found, and not deployed twice."""
    run = begin("run-1").register()

    first, again = run.deploy(), run.deploy()

    assert (first, 1) == (again, len(live(vertex).deployed))


@pytest.mark.parametrize("lags", [NO_LAGS, Lags(lists=0.5)], ids=["current", "lagging"])
def test_deploying_while_a_deployment_runs_waits_for_it(vertex: Vertex, begin: Begin) -> None:
    """A try whose predecessor died in the middle of a deployment waits for that deployment."""
    run = begin("run-1", kind="slow").register()
    operations = [next_operation(run.deploy_task(list_lag=10.0), try_number) for try_number in (1, 2, 3)]
    vertex.servers.release.set()

    deployed = run.deploy()

    assert len(set(operations)) == 1
    assert [deployed] == list(live(vertex).deployed)


def next_operation(task: DeployModelOperator, try_number: int) -> str:
    """Return the deployment that a try defers for; making the endpoint is waited for here."""
    ctx = context()
    ctx["ti"].try_number = try_number
    while True:
        with pytest.raises(TaskDeferred) as deferred:
            task.execute(ctx)
        name = str(deferred.value.trigger.name)
        if not task.access.hook().pipelines.get_operation({"name": name}).done:
            return name


def test_what_ends_soon_does_not_defer(vertex: Vertex) -> None:  # noqa: ARG001  # the server
    """An operation that is over while the worker's patience lasts costs no trip to the triggerer."""
    task = RegisterModelVersionOperator(
        task_id="register",
        model_name=NAME,
        artifact_uri="gs://bkt/m",
        image="i",
        **{**FAST, "patience": 10.0},
    )

    returned = task.execute(context())

    assert returned["model"].endswith("@1")


def test_a_deployed_model_has_no_traffic_at_first(vertex: Vertex, begin: Begin) -> None:
    """Deploying changes nothing about what is served."""
    begin("run-1").promote()

    begin("run-2").prepare()

    assert serving(vertex) == {"1": 100}


def test_a_model_that_does_not_start_leaves_everything(vertex: Vertex, begin: Begin) -> None:
    """A failed deployment explains itself, and the endpoint serves what it served."""
    begin("run-1").promote()
    second = begin("run-2", kind="broken").register()

    with pytest.raises(VertexError, match="ImportError: no module 'x'"):
        second.deploy()

    assert (serving(vertex), len(live(vertex).deployed)) == ({"1": 100}, 1)


def test_asking_leaves_no_traffic_on_a_new_model(vertex: Vertex, begin: Begin) -> None:
    """The share of the smoke test goes back when the model has answered."""
    begin("run-1").promote()

    begin("run-2").prepare().smoke()

    assert serving(vertex) == {"1": 100}


@pytest.mark.parametrize("fault", ["fail=UNAVAILABLE", "fail=RESOURCE_EXHAUSTED", "fail=UNKNOWN", "garbage"])
def test_questions_that_fail_are_asked_again(vertex: Vertex, begin: Begin, fault: str) -> None:
    """A server that is busy, or a replica that does not know the endpoint yet, gets another request."""
    begin("run-1").promote()
    second = begin("run-2").prepare()
    vertex.order("Predict", fault, calls=3)

    second.smoke()

    assert (serving(vertex), vertex.orders()) == ({"1": 100}, [])


@pytest.mark.parametrize("lags", [Lags(traffic=3600.0)], ids=["lagging"])
def test_a_share_that_takes_no_effect_fails_in_time(vertex: Vertex, begin: Begin) -> None:
    """The failure gives the number of requests and answers, the time that they took, and the last error."""
    first = begin("run-1").prepare()

    with pytest.raises(AirflowFailException) as failure:
        run_task(first.smoke_task(ask_for="0.3"), context("run-1"))

    words = r"with 10 % .* answered 0 of \d+ requests in \d+ s; .* Last error: .* doesn't have traffic_split"
    assert re.search(words, str(failure.value))
    assert serving(vertex) == {}


def test_nothing_to_ask_fails_for_good(vertex: Vertex, begin: Begin) -> None:
    """A file without rows proves nothing about a model; the share goes back."""
    begin("run-1").promote()
    second = begin("run-2").prepare()

    with pytest.raises(AirflowFailException, match="there are no golden rows"):
        run_task(second.smoke_task(read_golden=lambda _store, _uri: []), context("run-2"))

    assert serving(vertex) == {"1": 100}


@pytest.mark.parametrize("fare", [-12.5, 12.502, None])
def test_another_fare_fails_for_good(
    vertex: Vertex, begin: Begin, store: ObjectStore, fare: float | None
) -> None:
    """A fare that differs from the evaluated model's fails, and is recorded; the share goes back."""
    begin("run-1").promote()
    second = begin("run-2").prepare()
    vertex.servers.fare = fare

    with pytest.raises(AirflowFailException, match=r"answers 1 of 1 .* row 0 \(no averages\): expected 12.5"):
        second.smoke()

    assert serving(vertex) == {"1": 100}
    assert GoldenCheckRecord.parse(store.read(second.check_uri)).differing == 1


def test_an_answer_is_recorded_with_both_latencies(begin: Begin, store: ObjectStore) -> None:
    """The record says how the challenger answered, and how long it and the champion took."""
    first, second = begin("run-1").promote(), begin("run-2").prepare()

    second.smoke()

    alone, compared = (GoldenCheckRecord.parse(store.read(each.check_uri)) for each in (first, second))
    assert (alone.rows, alone.differing, alone.problem, alone.champion) == (1, 0, "", None)
    assert compared.deployed_model == second.deployed
    assert all(each and each.p50 <= each.p95 for each in (compared.challenger, compared.champion))


def test_a_promotion_that_is_cleared_keeps_its_record(begin: Begin, store: ObjectStore) -> None:
    """The smoke test of a promoted model passes, and does not forget the champion of that time."""
    begin("run-1").promote()
    second = begin("run-2").promote()
    recorded = store.read(second.check_uri)

    second.smoke()

    assert store.read(second.check_uri) == recorded


def test_a_decision_without_golden_requests_is_made_again(begin: Begin) -> None:
    """What an earlier version decided has none, which the error says."""
    first = begin("run-1").prepare()

    with pytest.raises(AirflowFailException, match=r"golden_uri is empty: .* start a new run"):
        run_task(first.smoke_task(golden_uri=""), context("run-1"))


def test_a_model_that_refuses_a_request_fails_for_good(vertex: Vertex, begin: Begin) -> None:
    """The others answer the same request, so that it is this one's refusal; it is not waited for."""
    begin("run-1").promote()
    second = begin("run-2").prepare()
    vertex.servers.refusing.add(str(second.deployed))

    with pytest.raises(AirflowFailException, match=r"answered 0 of .* Last error: 400 .*no such feature"):
        second.smoke()

    assert serving(vertex) == {"1": 100}


def test_a_kill_gives_the_share_back_at_once(vertex: Vertex, begin: Begin) -> None:
    """The share is back before on_kill() returns: a second later the process may be gone."""
    begin("run-1").promote()
    second = begin("run-2").prepare()
    vertex.order("Predict", "delay=3")
    task = second.smoke_task()
    shares: list[dict[str, int]] = []

    def killed() -> bool:
        if vertex.orders():
            return False
        task.on_kill()
        shares.append(serving(vertex))
        return True

    with killing(task, killed), pytest.raises(VertexError, match="killed"):
        task.execute(context("run-2"))

    assert shares == [{"1": 100}]


def test_a_share_that_a_lost_worker_took_goes_back(vertex: Vertex, begin: Begin) -> None:
    """Another try of a smoke test whose worker got SIGKILL gives back what that one had taken."""
    begin("run-1").promote()
    second = begin("run-2").prepare()
    first = next(iter(live(vertex).split))
    endpoints.set_traffic(vertex.hook, live(vertex), {first: 90, str(second.deployed): 10})

    second.smoke()

    assert serving(vertex) == {"1": 100}


@pytest.mark.parametrize("lags", [NO_LAGS], ids=["current"])
@pytest.mark.parametrize(
    "step", ["champion", "register", "deploy", "smoke", "shift", "undeploy", "roll_back"]
)
def test_looking_changes_nothing(vertex: Vertex, begin: Begin, store: ObjectStore, step: str) -> None:
    """`find` of each operator leaves the endpoint, the aliases and the run's record as they are."""
    first = begin("run-1").promote()
    second = begin("run-2").prepare()
    # So that the tasks whose work this is have something left to change.
    model_registry.take_aliases(vertex.hook, ModelName.parse(second.model), model_registry.CHALLENGER)
    if step == "champion":
        store.delete(second.baseline_uri)

    def everything() -> tuple[object, ...]:
        return live(vertex), first.aliases, second.aliases, store.exists(second.baseline_uri)

    before = everything()
    getattr(second, f"{step}_task")().find(vertex.hook, context("run-2"))

    assert everything() == before


def test_shifting_needs_a_deployment(begin: Begin) -> None:
    """Traffic never goes to a version that is not deployed."""
    begin("run-1").promote()
    second = begin("run-2").register()

    with pytest.raises(AirflowFailException, match="is not deployed"):
        second.shift()


@pytest.mark.parametrize("fault", ["fail=UNAVAILABLE", "lose-reply", "garbage"])
@pytest.mark.parametrize("method", ["UpdateEndpoint", "MergeVersionAliases"])
def test_a_shift_is_whole_whatever_the_wire_does(
    vertex: Vertex, begin: Begin, method: str, fault: str
) -> None:
    """A fault between the traffic and the aliases leaves neither of them behind."""
    first = begin("run-1").promote()
    second = begin("run-2").prepare()
    vertex.order(method, fault)

    second.shift()

    assert (serving(vertex), first.aliases, second.aliases) == (
        {"2": 100},
        set(),
        {"champion", "challenger", "default"},
    )


def test_aliases_never_leave_a_model_without_a_champion(vertex: Vertex, begin: Begin) -> None:
    """A refused move leaves the aliases with the version that had them; the next try moves them."""
    first = begin("run-1").promote()
    second = begin("run-2").prepare()
    vertex.order("MergeVersionAliases", "fail=PERMISSION_DENIED")
    with pytest.raises(AirflowFailException):
        second.shift()
    kept = first.aliases

    second.shift()

    assert (kept, first.aliases, second.aliases) == (
        {"champion", "default"},
        set(),
        {"champion", "challenger", "default"},
    )


def test_undeploying_spares_what_serves(vertex: Vertex, begin: Begin) -> None:
    """Only models without traffic are undeployed."""
    begin("run-1").promote()
    second = begin("run-2").prepare()

    second.undeploy_others()

    assert len(live(vertex).deployed) == 2


def test_undeploying_takes_what_an_ended_run_left(vertex: Vertex, begin: Begin) -> None:
    """A version that lost its traffic in a run that ended there is undeployed by the next one."""
    begin("run-1").promote()
    ended = begin("run-2").prepare()
    ended.smoke()
    ended.shift()
    third = begin("run-3").promote()

    third.undeploy_others(left_after=0.0)

    assert {third.deployed} == set(live(vertex).deployed)


def test_undeploying_spares_another_model(vertex: Vertex, begin: Begin) -> None:
    """Somebody else's model stays deployed, idle or replaced."""
    begin("run-1").promote()
    idle = deploy_foreign(vertex)
    own = next(iter(live(vertex).split))
    replaced = deploy_foreign(vertex, split={own: 60, "0": 40})

    second = begin("run-2").promote()

    assert {second.deployed, idle, replaced} == set(live(vertex).deployed)


def test_an_empty_result_of_the_gate_is_refused(vertex: Vertex) -> None:  # noqa: ARG001  # the server
    """A task whose input has no result says so, and registers nothing."""
    task = RegisterModelVersionOperator(
        task_id="register", model_name=NAME, artifact_uri="None", image="i", **FAST
    )

    with pytest.raises(AirflowFailException, match="artifact_uri is empty"):
        run_task(task, context())
