"""Find the model that serves, which is the one to beat, and record what served before the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow.runs import override_of
from taxi_ml.gate.champion import Champion
from taxi_ml.gate.decision import ReasonCode, objections
from vertex_airflow import endpoints, model_registry
from vertex_airflow.baseline import Baseline, ServingModel
from vertex_airflow.hooks.calls import CALL_TIMEOUT
from vertex_airflow.operators.operation import VertexOperationOperator
from vertex_airflow.rendered import check_given, is_true

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from taxi_ml.gate.decision import Reason
    from vertex_airflow.endpoints import LiveEndpoint
    from vertex_airflow.hooks.vertex import VertexHook

# As the Evaluator looks for it: a registered model, or the Trainer's own layout.
_SAVED_MODELS = ("saved_model.pb", "Format-Serving/saved_model.pb")


class FindChampionOperator(VertexOperationOperator[Baseline]):
    """Return ``{"name": "…/models/<id>@<n>", "uri": "gs://…"}`` of the model that serves most traffic.

    Both are empty where nothing serves: the endpoint's traffic says so, not an alias nor a blessing. What
    is deployed and serves is recorded once per run; another try, and a run that was cleared, return what
    was recorded.

    A champion that the run cannot be compared with, or not fairly, fails the task before anything is
    recorded: its files are gone, it was trained on this window's test months, or for a later window. A run
    whose form overrides that reason goes on; where the files are gone, ``uri`` is empty. So does one that
    only evaluates, with a champion that is too new: the gate rejects what comes of it.

    :param endpoint_name: display name of the endpoint
    :param baseline_uri: ``gs://…`` object to record what served in
    :param window: id of the window that the run trains and tests on
    :param evaluate_only: whether the run promotes nothing
    """

    template_fields: Sequence[str] = (
        *VertexOperationOperator.template_fields,
        "endpoint_name",
        "baseline_uri",
        "window",
        "evaluate_only",
    )

    def __init__(
        self,
        *,
        endpoint_name: str,
        baseline_uri: str,
        window: str,
        evaluate_only: bool | str = False,
        **kwargs: Any,  # noqa: ANN401  # WaitingOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.endpoint_name = endpoint_name
        self.baseline_uri = baseline_uri
        self.window = window
        self.evaluate_only = evaluate_only

    def find(self, hook: VertexHook, context: Context) -> Baseline:  # noqa: ARG002
        """Look at the endpoint's live traffic, unless the run has done so before."""
        check_given(baseline_uri=self.baseline_uri, window=self.window)
        store = self.store()
        if store.exists(self.baseline_uri):
            return Baseline.recorded(store, self.baseline_uri)
        endpoint = endpoints.find_endpoint(hook, self.endpoint_name)
        return Baseline.of(endpoint, _serving(hook, endpoint))

    def apply(self, hook: VertexHook, context: Context, state: Baseline) -> dict[str, str]:
        """Record what serves, unless the run cannot be compared with it, or not fairly."""
        champion = champion_of(state)
        self._describe(state, champion)
        compared = self._has_saved_model(champion)
        self._judge(objections(champion, self.window, compared=compared), context)
        store = self.store()
        store.write_once(self.baseline_uri, state.to_json(), content_type="application/json")
        # Another try may have been first, and have seen something else.
        recorded = Baseline.recorded(store, self.baseline_uri)
        if recorded != state:
            return self.apply(hook, context, recorded)
        return {"name": champion.name, "uri": champion.uri if compared else ""}

    def _has_saved_model(self, champion: Champion) -> bool:
        store, folder = self.store(), champion.uri.rstrip("/")
        return bool(folder) and any(store.exists(f"{folder}/{each}") for each in _SAVED_MODELS)

    def _judge(self, reasons: Sequence[Reason], context: Context) -> None:
        """Stop a run that the gate would reject whatever it trains, unless a person wants it all the same."""
        override = override_of(context)
        accepted = override.codes if override else frozenset()
        if is_true(self.evaluate_only):
            accepted |= {ReasonCode.CHAMPION_NEWER}
        for reason in reasons:
            self.log.warning("%s", reason)
        refused = [reason for reason in reasons if reason.code not in accepted]
        if refused:
            raise AirflowFailException("\n".join(f"{each}: {self._remedy(each)}" for each in refused))

    def _remedy(self, reason: Reason) -> str:
        override = f"override {reason.code} in the form of a new run"
        if reason.code is ReasonCode.CHAMPION_MISSING:
            return (
                f"the model has most traffic on endpoint {self.endpoint_name!r} and cannot be compared with. "
                "Restore the folder, or give the traffic to a model of this DAG, or set TAXI_ENDPOINT_NAME "
                f"to an endpoint of its own; then clear this task. Or {override}: then only the absolute "
                "rules of policy.toml decide, and the model may be replaced"
            )
        return (
            f"a run of {self.window} would be compared on trips that the champion was trained on, or replace "
            "a model of a later window. Turn Promote off to evaluate only, give another window_end, or "
            f"{override}"
        )

    def _describe(self, baseline: Baseline, champion: Champion) -> None:
        if not champion.name:
            self.log.info("Nothing serves on %r: there is no champion to beat", self.endpoint_name)
        elif champion.window:
            self.log.info("%s of %s serves from %s", champion.name, champion.window, champion.uri)
        else:
            self.log.warning(
                "%s serves from %s; it has no label `window`, and may have been trained on this run's test "
                "months",
                champion.name,
                champion.uri,
            )
        for each, name in baseline.deployed.items():
            if each not in baseline.split:
                self.log.warning("%s is deployed without traffic; no promotion will undeploy it", name)


def champion_of(baseline: Baseline) -> Champion:
    """Return the model that served before a run, as the gate knows it."""
    serving = baseline.champion
    if serving is None:
        return Champion()
    return Champion.of(name=str(serving.name), uri=serving.uri, labels=serving.labels)


def _serving(hook: VertexHook, endpoint: LiveEndpoint | None) -> ServingModel | None:
    busiest = endpoint.busiest if endpoint is not None else None
    if busiest is None:
        return None
    model = hook.models.get_model(name=str(busiest), timeout=CALL_TIMEOUT)
    name = model_registry.version_name(model)
    return ServingModel(name=name, uri=model.artifact_uri, labels=dict(model.labels))
