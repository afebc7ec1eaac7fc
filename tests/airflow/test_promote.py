from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred
from taxi_airflow import registry
from taxi_airflow.operators import promote as promote_module
from taxi_airflow.operators.champion import FindChampionOperator
from taxi_airflow.operators.deploy import DeployModelOperator, UndeployOthersOperator
from taxi_airflow.operators.promote import RollBackOperator, ShiftTrafficOperator, SmokePredictOperator
from taxi_airflow.operators.register import RegisterModelVersionOperator
from taxi_airflow.operators.waiting import VertexError

from taxi_ml.naming import ModelName
from tests.airflow.conftest import REGION, context, run_task

if TYPE_CHECKING:
    from tests.airflow.conftest import Vertex

NAME = "chicago-taxi-fare"
FAST: dict[str, Any] = {
    "region": REGION,
    "shortest_poll": 0.05,
    "longest_poll": 0.2,
    "settle": 0.0,
    "patience": 0.0,
}


@pytest.fixture(autouse=True)
def trips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask about one trip; reading trips from Cloud Storage has tests of its own."""
    monkeypatch.setattr(promote_module, "read_instances", lambda *_, **__: [{"TripStartHour": 8}])


def register(run_id: str, uri: str = "") -> str:
    """Register a version for a DAG run and return its name."""
    task = RegisterModelVersionOperator(
        task_id="register",
        model_name=NAME,
        artifact_uri=uri or f"gs://b/{run_id}",
        image="taxi-vertex/pipeline:local",
        labels={"run": run_id},
        **FAST,
    )
    return str(run_task(task, context(run_id))["model"])


def deploy(model: str) -> dict[str, Any]:
    """Deploy a version without traffic."""
    task = DeployModelOperator(
        task_id="deploy", endpoint_name=NAME, model=model, machine_type="n1-standard-2", **FAST
    )
    deployed: dict[str, Any] = run_task(task, context())
    return deployed


def smoke(model: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401  # arguments of the operator
    """Ask a deployed version for a fare."""
    arguments = {"instances_uri": "gs://b/trips_*.csv", "largest": "200.0", **changes}
    task = SmokePredictOperator(task_id="smoke", endpoint_name=NAME, model=model, **FAST, **arguments)
    answered: dict[str, Any] = run_task(task, context())
    return answered


def shift(model: str) -> dict[str, Any]:
    """Give a deployed version all traffic."""
    task = ShiftTrafficOperator(task_id="shift", endpoint_name=NAME, model=model, **FAST)
    shifted: dict[str, Any] = run_task(task, context())
    return shifted


def undeploy_others(model: str) -> None:
    """Take down what has no traffic."""
    run_task(UndeployOthersOperator(task_id="undeploy", endpoint_name=NAME, model=model, **FAST), context())


def roll_back(model: str, before: object) -> None:
    """Undo a promotion."""
    task = RollBackOperator(
        task_id="roll_back", endpoint_name=NAME, model=model, before=json.dumps(before), **FAST
    )
    run_task(task, context())


def promote(run_id: str) -> dict[str, Any]:
    """Run the whole promotion of a DAG run, and return what the traffic was shifted to."""
    model = register(run_id)
    deploy(model)
    smoke(model)
    shifted = shift(model)
    undeploy_others(model)
    return shifted


def live(vertex: Vertex) -> registry.LiveEndpoint:
    """Return the endpoint as it is."""
    endpoint = registry.find_endpoint(vertex.hook, NAME)
    assert endpoint is not None
    return endpoint


def champion() -> dict[str, str]:
    """Return what serves."""
    found: dict[str, str] = run_task(
        FindChampionOperator(task_id="champion", endpoint_name=NAME, **FAST), context()
    )
    return found


def test_nothing_serves_at_first(vertex: Vertex) -> None:  # noqa: ARG001  # the server
    """Without an endpoint there is no champion, which is no error."""
    assert champion() == {"name": "", "uri": ""}


def test_a_first_promotion_serves_everything(vertex: Vertex) -> None:
    """The first model gets all traffic, and is the champion by traffic and by alias."""
    shifted = promote("run-1")

    model = vertex.hook.models.get_model(name=champion()["name"])
    assert {shifted["deployed_model"]: 100} == live(vertex).split
    assert "champion" in model.version_aliases
    assert champion()["uri"] == "gs://b/run-1"


def test_a_second_promotion_replaces_the_first(vertex: Vertex) -> None:
    """One model, two versions, one deployed model: nothing piles up."""
    promote("run-1")
    promote("run-2")

    models = list(vertex.hook.models.list_models(parent=vertex.hook.location))
    versions = list(vertex.hook.models.list_model_versions(name=models[0].name))
    assert (len(models), len(versions), len(live(vertex).deployed)) == (1, 2, 1)
    assert champion()["uri"] == "gs://b/run-2"


def test_aliases_move_with_the_champion(vertex: Vertex) -> None:
    """Each alias points to one version of the model: the newest one after its promotion."""
    promote("run-1")
    promote("run-2")

    for alias in ("champion", "challenger"):
        version = vertex.hook.models.get_model(name=f"{vertex.hook.location}/models/{NAME}@{alias}")
        assert version.artifact_uri == "gs://b/run-2"


def test_registering_again_attaches(vertex: Vertex) -> None:
    """Another try of the same run finds its version."""
    first, again = register("run-1"), register("run-1")

    versions = list(vertex.hook.models.list_model_versions(name=f"{vertex.hook.location}/models/{NAME}"))
    assert (first, 1) == (again, len(versions))


def test_another_artifact_of_a_run_is_another_version(vertex: Vertex) -> None:  # noqa: ARG001  # the server
    """A run that was cleared and trained again registers what it trained."""
    assert register("run-1", "gs://b/1") != register("run-1", "gs://b/2")


def test_deploying_again_attaches(vertex: Vertex) -> None:
    """A version that is deployed is found, and not deployed twice."""
    model = register("run-1")

    first, again = deploy(model), deploy(model)

    assert (first, 1) == (again, len(live(vertex).deployed))


def test_deploying_while_a_deployment_runs_waits_for_it(vertex: Vertex) -> None:
    """A try whose predecessor died in the middle of a deployment waits for that one."""
    model = register("run-1", "gs://b/slow")
    task = DeployModelOperator(
        task_id="deploy", endpoint_name=NAME, model=model, machine_type="n1-standard-2", **FAST
    )
    operations = [next_operation(task), next_operation(task), next_operation(task)]
    vertex.servers.release.set()

    deployed = deploy(model)

    assert operations[1] == operations[2]
    assert [deployed["deployed_model"]] == list(live(vertex).deployed)


def next_operation(task: DeployModelOperator) -> str:
    """Return the operation that a try defers for; making the endpoint is waited for here."""
    while True:
        try:
            task.execute(context())
        except TaskDeferred as deferred:
            name = str(deferred.trigger.name)
            if "slow" not in name and task.access.hook().pipelines.get_operation({"name": name}).done:
                continue
            return name


def test_what_ends_soon_does_not_defer(vertex: Vertex) -> None:  # noqa: ARG001  # the server
    """An operation that is over while the worker's patience lasts costs no trip to the triggerer."""
    task = RegisterModelVersionOperator(
        task_id="register", model_name=NAME, artifact_uri="gs://b/m", image="i", **{**FAST, "patience": 10.0}
    )

    returned = task.execute(context())

    assert returned["model"].endswith("@1")


def test_a_deployed_model_has_no_traffic_at_first(vertex: Vertex) -> None:
    """Deploying changes nothing about what is served."""
    serving = promote("run-1")

    deploy(register("run-2"))

    assert {serving["deployed_model"]: 100} == live(vertex).split


def test_a_model_that_does_not_start_leaves_everything(vertex: Vertex) -> None:
    """A failed deployment explains itself, and the endpoint serves what it served."""
    serving = promote("run-1")
    model = register("run-2", "gs://b/broken")

    with pytest.raises(VertexError, match="ImportError: no module 'x'"):
        deploy(model)

    assert {serving["deployed_model"]: 100} == live(vertex).split
    assert len(live(vertex).deployed) == 1


@pytest.mark.parametrize("fare", [-1.0, 250.0, None])
def test_an_unbelievable_fare_fails_for_good(vertex: Vertex, fare: float | None) -> None:
    """A negative fare, one above the bound and one that is no number fail the smoke test."""
    model = register("run-1")
    deploy(model)
    vertex.servers.fare = fare

    with pytest.raises(AirflowFailException, match="every fare must be a number between 0 and 200"):
        smoke(model)


def test_rolling_back_restores_what_served(vertex: Vertex) -> None:
    """After a failed smoke test the old model has all traffic, and the new one is gone."""
    serving = promote("run-1")
    model = register("run-2")
    deployed = deploy(model)
    vertex.servers.fare = -1.0
    with pytest.raises(AirflowFailException):
        smoke(model)

    roll_back(model, deployed["before"])

    assert {serving["deployed_model"]: 100} == live(vertex).split
    assert [serving["deployed_model"]] == list(live(vertex).deployed)


def test_rolling_back_a_first_promotion_leaves_nothing(vertex: Vertex) -> None:
    """Where nothing served before, nothing serves after a roll-back."""
    model = register("run-1")
    deployed = deploy(model)
    smoke(model)

    roll_back(model, deployed["before"])

    assert (live(vertex).split, live(vertex).deployed) == ({}, {})


def test_rolling_back_without_a_deployment_changes_nothing(vertex: Vertex) -> None:
    """A deployment that failed has nothing to take back."""
    serving = promote("run-1")

    roll_back(register("run-2"), None)

    assert {serving["deployed_model"]: 100} == live(vertex).split


def test_rolling_back_a_run_without_a_model_is_skipped(vertex: Vertex) -> None:  # noqa: ARG001  # the server
    """A run that failed before it registered anything has nothing to take back."""
    task = RollBackOperator(task_id="roll_back", endpoint_name=NAME, model="", **FAST)

    with pytest.raises(AirflowSkipException):
        run_task(task, context())


def test_rolling_back_twice_is_rolling_back_once(vertex: Vertex) -> None:
    """Another try of the roll-back finds its work done."""
    serving = promote("run-1")
    model = register("run-2")
    before = deploy(model)["before"]
    roll_back(model, before)

    roll_back(model, before)

    assert {serving["deployed_model"]: 100} == live(vertex).split


def test_shifting_needs_a_deployment(vertex: Vertex) -> None:  # noqa: ARG001  # the server
    """Traffic never goes to a version that is not deployed."""
    promote("run-1")
    model = register("run-2")

    with pytest.raises(AirflowFailException, match="is not deployed"):
        shift(model)


def test_undeploying_spares_what_serves(vertex: Vertex) -> None:
    """Only models without traffic are taken down."""
    promote("run-1")
    model = register("run-2")
    deploy(model)
    smoke(model)

    undeploy_others(model)

    assert len(live(vertex).deployed) == 2


def test_an_empty_result_of_the_gate_is_refused(vertex: Vertex) -> None:  # noqa: ARG001  # the server
    """A task whose input has no result says so, and registers nothing."""
    task = RegisterModelVersionOperator(
        task_id="register", model_name=NAME, artifact_uri="None", image="i", **FAST
    )

    with pytest.raises(AirflowFailException, match="artifact_uri is empty"):
        run_task(task, context())


def test_versions_are_compared_without_the_project() -> None:
    """Vertex AI answers with the project's number where it was asked with its id."""
    by_id = ModelName.parse(f"projects/taxi-local/locations/{REGION}/models/m@2")
    by_number = ModelName.parse(f"projects/123456789012/locations/{REGION}/models/m@2")

    assert registry.same_version(by_id, by_number)
