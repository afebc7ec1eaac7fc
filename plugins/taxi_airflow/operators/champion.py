"""Find the model that serves, which is the one to beat, and record what served before the run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow import registry, traffic
from taxi_airflow.baseline import Baseline, Champion
from taxi_airflow.hooks.calls import CALL_TIMEOUT
from taxi_airflow.operators.operation import VertexOperationOperator
from taxi_airflow.rendered import check_given

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from taxi_airflow.hooks.vertex import VertexHook

# As the Evaluator looks for it: a registered model, or the Trainer's own layout.
_SAVED_MODELS = ("saved_model.pb", "Format-Serving/saved_model.pb")


class FindChampionOperator(VertexOperationOperator):
    """Return ``{"name": "…/models/<id>@<n>", "uri": "gs://…"}`` of the model that serves most traffic.

    Both are empty where nothing serves: the endpoint's traffic says so, not an alias nor a blessing. What
    is deployed and serves is recorded once per run; another try, and a run that was cleared, return what
    was recorded. A champion without a SavedModel fails the task, as nothing could be compared with it.

    :param endpoint_name: display name of the endpoint
    :param baseline_uri: ``gs://…`` object to record what served in
    """

    template_fields: Sequence[str] = (
        *VertexOperationOperator.template_fields,
        "endpoint_name",
        "baseline_uri",
    )

    def __init__(
        self,
        *,
        endpoint_name: str,
        baseline_uri: str,
        **kwargs: Any,  # noqa: ANN401  # WaitingOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.endpoint_name = endpoint_name
        self.baseline_uri = baseline_uri

    def scope(self, hook: VertexHook) -> str | None:  # noqa: ARG002  # looking waits for nothing
        """Return None: looking waits for nothing."""
        return None

    def find(self, hook: VertexHook, context: Context) -> dict[str, str]:  # noqa: ARG002
        """Look at the endpoint's live traffic, unless the run has done so before."""
        check_given(baseline_uri=self.baseline_uri)
        store = self.store()
        if not store.exists(self.baseline_uri):
            endpoint = registry.find_endpoint(hook, self.endpoint_name)
            seen = Baseline.of(endpoint, self._champion(hook, endpoint))
            store.write_once(self.baseline_uri, seen.to_json(), content_type="application/json")
        baseline = Baseline.from_json(store.read(self.baseline_uri))
        self._describe(baseline)
        return asdict(baseline.champion)

    def start(self, hook: VertexHook, context: Context) -> str | None:
        """Nothing is ever started: `find` always answers."""
        raise NotImplementedError

    def _champion(self, hook: VertexHook, endpoint: registry.LiveEndpoint | None) -> Champion:
        busiest = traffic.busiest(endpoint.split) if endpoint else None
        if endpoint is None or busiest is None:
            return Champion()
        model = hook.models.get_model(name=str(endpoint.deployed[busiest]), timeout=CALL_TIMEOUT)
        found = Champion(name=registry.version_name(model), uri=model.artifact_uri)
        store = self.store()
        folder = found.uri.rstrip("/")
        if not folder or not any(store.exists(f"{folder}/{each}") for each in _SAVED_MODELS):
            raise AirflowFailException(
                f"{found.name} has most traffic on endpoint {self.endpoint_name!r} and no SavedModel to "
                f"compare with (artifact_uri {found.uri!r}): give the traffic to a model of this DAG, or set "
                "TAXI_ENDPOINT_NAME to an endpoint of its own; then clear this task"
            )
        return found

    def _describe(self, baseline: Baseline) -> None:
        champion = baseline.champion
        if champion.name:
            self.log.info("%s serves from %s", champion.name, champion.uri)
        else:
            self.log.info("Nothing serves on %r: there is no champion to beat", self.endpoint_name)
        for each, name in baseline.deployed.items():
            if each not in baseline.split:
                self.log.warning("%s is deployed without traffic; no promotion will undeploy it", name)
