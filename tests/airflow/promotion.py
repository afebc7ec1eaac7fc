"""The promotion of a DAG run, task by task, against the local Vertex AI and Cloud Storage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from local_vertex.domain.past import NO_LAGS, Lags
from taxi_airflow.operators.champion import FindChampionOperator
from tests.airflow.servers import REGION
from tests.airflow.tasks import context, run_task
from vertex_airflow import endpoints, model_registry
from vertex_airflow.golden import GoldenRow
from vertex_airflow.names import ModelName
from vertex_airflow.objects import ObjectStore
from vertex_airflow.operators.deploy import DeployModelOperator, UndeployOthersOperator
from vertex_airflow.operators.promote import ShiftTrafficOperator, SmokePredictOperator
from vertex_airflow.operators.register import RegisterModelVersionOperator
from vertex_airflow.operators.roll_back import RollBackOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.airflow.servers import Vertex

Begin: TypeAlias = "Callable[..., Promotion]"
"""The type of the fixture `begin`."""

NAME = "chicago-taxi-fare"
NO_ANCHOR = {"anchor_name": "", "anchor_uri": "", "members": ""}
# The answer of the fake model servers.
GOLDEN = GoldenRow(instance={"TripStartHour": 8}, expected=12.5, why=("no averages",))
OVERRIDE = {"override_codes": ["champion_newer"], "override_reason": "a test"}
# Lists show nothing that a test makes, and traffic takes effect while the smoke test sends requests.
LAGGING = {"current": NO_LAGS, "lagging": Lags(lists=3600.0, traffic=0.3)}
FAST: dict[str, Any] = {
    "region": REGION,
    "shortest_poll": 0.05,
    "longest_poll": 0.2,
    "settle": 0.0,
    "patience": 0.0,
    "list_lag": 0.0,
}


@dataclass(slots=True, kw_only=True)
class Promotion:
    """One DAG run, from its look at the endpoint to its end; `folder` is the bucket's, for this test.

    `trained` are the labels of the first day that its model was trained on, and of the one after the last.
    With `judged_until` it is a refit, of a model that was trained until that day.
    """

    vertex: Vertex
    folder: str
    run_id: str
    kind: str = ""
    window: str = "2015-07_train24_test1"
    trained: tuple[str, str] = ("", "")
    judged_until: str = ""
    skill: str = ""
    evaluate_only: bool = False
    compares: bool = True
    serve: str = "newest"
    form: Mapping[str, Any] = field(default_factory=dict)
    champion: dict[str, str] = field(init=False)
    model: str = field(init=False)

    def champion_task(self) -> FindChampionOperator:
        """Return the task that records what serves."""
        return FindChampionOperator(
            task_id="champion",
            endpoint_name=NAME,
            baseline_uri=self.baseline_uri,
            model_name=NAME,
            window=self.window,
            evaluate_only=self.evaluate_only,
            compares=self.compares,
            serve=self.serve,
            **FAST,
        )

    def begin(self) -> Promotion:
        """Record what serves."""
        self.champion = run_task(self.champion_task(), context(self.run_id, params=self.form))
        return self

    @property
    def artifact(self) -> str:
        """The folder of the trained model; its name may order a fault of the fake server."""
        return f"{self.folder}/{self.run_id}{self.kind}"

    @property
    def baseline_uri(self) -> str:
        """The URI at which the run records what served before it."""
        return f"{self.folder}/runs/{self.run_id}/baseline.json"

    @property
    def check_uri(self) -> str:
        """The URI at which the run records how the deployed model answered."""
        return f"{self.folder}/runs/{self.run_id}/golden_check.json"

    @property
    def rollout_uri(self) -> str:
        """The URI at which the run records when its version got the traffic."""
        return f"{self.folder}/runs/{self.run_id}/rollout.json"

    @property
    def common(self) -> dict[str, Any]:
        """The arguments of every task on the endpoint."""
        return {"endpoint_name": NAME, "model": self.model, "baseline_uri": self.baseline_uri, **FAST}

    def register_task(self) -> RegisterModelVersionOperator:
        """Return the task that registers the trained model."""
        return RegisterModelVersionOperator(
            task_id="register",
            model_name=NAME,
            artifact_uri=self.artifact,
            image="taxi-vertex/pipeline:local",
            labels={
                "run": self.run_id,
                "window": self.window,
                "trained_from": self.trained[0],
                "trained_until": self.trained[1],
                "judged_until": self.judged_until,
                "skill": self.skill,
            },
            **FAST,
        )

    def register(self) -> Promotion:
        """Register the trained model, with a placeholder for its SavedModel."""
        store = ObjectStore(gcp_conn_id="google_cloud_default")
        for folder in (self.artifact, *([f"{self.artifact}/judged"] if self.judged_until else [])):
            store.write(f"{folder}/saved_model.pb", b"")
        self.model = str(run_task(self.register_task(), context(self.run_id))["model"])
        return self

    def deploy_task(self, **changes: Any) -> DeployModelOperator:  # noqa: ANN401  # arguments of the operator
        """Return the task that deploys."""
        arguments = {"machine_type": "n1-standard-2", **self.common, **changes}
        return DeployModelOperator(task_id="deploy", **arguments)

    def deploy(self) -> str:
        """Deploy the version without traffic, and return the deployed model's id."""
        return str(run_task(self.deploy_task(), context(self.run_id))["deployed_model"])

    def smoke_task(self, **changes: Any) -> SmokePredictOperator:  # noqa: ANN401  # arguments of the operator
        """Return the task that requests fares."""
        arguments = {
            "golden_uri": "gs://b/golden.json",
            "read_golden": lambda _store, _uri: [GOLDEN],
            "check_uri": self.check_uri,
            "shortest_pause": 0.01,
            **self.common,
            **changes,
        }
        return SmokePredictOperator(task_id="smoke", **arguments)

    def smoke(self) -> None:
        """Request a fare from the deployed version."""
        run_task(self.smoke_task(), context(self.run_id))

    def shift_task(self) -> ShiftTrafficOperator:
        """Return the task that gives the deployed version all traffic."""
        return ShiftTrafficOperator(task_id="shift", rollout_uri=self.rollout_uri, **self.common)

    def shift(self) -> None:
        """Give the deployed version all traffic."""
        run_task(self.shift_task(), context(self.run_id))

    def undeploy_task(self, **options: float) -> UndeployOthersOperator:
        """Return the task that undeploys what was replaced."""
        return UndeployOthersOperator(task_id="undeploy", **options, **self.common)

    def undeploy_others(self, **options: float) -> None:
        """Undeploy what was replaced."""
        run_task(self.undeploy_task(**options), context(self.run_id))

    def roll_back_task(self) -> RollBackOperator:
        """Return the teardown."""
        return RollBackOperator(task_id="roll_back", **self.common)

    def roll_back(self) -> str:
        """Run the teardown, and return why it failed or was skipped."""
        with pytest.raises((AirflowFailException, AirflowSkipException)) as end:
            run_task(self.roll_back_task(), context(self.run_id))
        return str(end.value)

    def prepare(self) -> Promotion:
        """Register and deploy."""
        self.register()
        self.deploy()
        return self

    def promote(self) -> Promotion:
        """Run all tasks of the promotion, the teardown among them."""
        self.prepare()
        self.smoke()
        self.shift()
        self.undeploy_others()
        self.roll_back()
        return self

    @property
    def deployed(self) -> str | None:
        """The id under which the version is deployed now."""
        own = live(self.vertex).deployment_of(ModelName.parse(self.model))
        return own.id if own else None

    @property
    def aliases(self) -> set[str]:
        """The version's current aliases among champion, challenger and default."""
        named = {model_registry.CHALLENGER, model_registry.CHAMPION, model_registry.DEFAULT}
        return named & model_registry.aliases_of(self.vertex.hook, ModelName.parse(self.model))


def deploy_foreign(vertex: Vertex, artifact: str = "", split: Mapping[str, int] | None = None) -> str:
    """Deploy somebody else's model, and return its deployed model's id.

    :param split: the traffic afterwards, in which `0` is the model; None leaves it as it is
    """
    hook = vertex.hook
    model = {"display_name": "foreign", "artifact_uri": artifact, "container_spec": {"image_uri": "i"}}
    uploading: Any = hook.models.upload_model({"parent": hook.location, "model": model})
    if endpoints.find_endpoint(hook, NAME) is None:
        creating: Any = hook.endpoints.create_endpoint(
            {"parent": hook.location, "endpoint": {"display_name": NAME}, "endpoint_id": NAME}
        )
        creating.result()
    machine = {"machine_spec": {"machine_type": "n1-standard-2"}, "min_replica_count": 1}
    deploying: Any = hook.endpoints.deploy_model(
        {
            "endpoint": live(vertex).name,
            "deployed_model": {"model": uploading.result().model, "dedicated_resources": machine},
            "traffic_split": split or {},
        }
    )
    return str(deploying.result().deployed_model.id)


def count_versions(vertex: Vertex) -> int:
    """Count the versions of the model, by name: a list may lag behind."""
    name = ModelName(project=vertex.hook.project_id, location=REGION, id=NAME)
    return sum(
        model_registry.find_version(vertex.hook, name, str(number)) is not None for number in range(1, 10)
    )


def live(vertex: Vertex) -> endpoints.LiveEndpoint:
    """Return the endpoint as it is."""
    endpoint = endpoints.find_endpoint(vertex.hook, NAME)
    assert endpoint is not None
    return endpoint


def serving(vertex: Vertex) -> dict[str, int]:
    """Return the traffic by version."""
    endpoint = live(vertex)
    return {str(endpoint.deployed[each].version): share for each, share in endpoint.split.items()}
