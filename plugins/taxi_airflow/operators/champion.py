"""Find the model to beat, which is the one that serves when a run begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow.runs import run_of
from taxi_ml.gate.champion import Champion
from taxi_ml.gate.decision import objections
from taxi_ml.gate.reasons import ReasonCode
from vertex_airflow.operators.connected import check_given, is_true
from vertex_airflow.operators.deploy import RecordBaselineOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from taxi_ml.gate.reasons import Reason
    from vertex_airflow.baseline import Baseline

# As the Evaluator looks for it: a registered model, or the Trainer's own layout.
_SAVED_MODELS = ("saved_model.pb", "Format-Serving/saved_model.pb")


class FindChampionOperator(RecordBaselineOperator):
    """Record what serves before a run, and refuse a champion that the run cannot be compared with fairly.

    Returns the champion's name and the folder of its files, ``{"name", "uri"}``; both are empty where nothing
    serves.

    The task fails before anything is recorded where the champion's files are gone, or where it was trained
    on this window's test months or for a later window. A run whose form overrides that reason goes on; where
    the files are gone, ``uri`` is empty. So does a run that only evaluates, with a champion that is too new:
    the gate rejects what comes of it.

    :param window: id of the window that the run trains and tests on
    :param evaluate_only: whether the run promotes nothing
    """

    template_fields: Sequence[str] = (*RecordBaselineOperator.template_fields, "window", "evaluate_only")

    def __init__(
        self,
        *,
        window: str,
        evaluate_only: bool | str = False,
        **kwargs: Any,  # noqa: ANN401  # RecordBaselineOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.window = window
        self.evaluate_only = evaluate_only

    def returned(self, context: Context, baseline: Baseline) -> dict[str, str]:
        """Return the champion; raise where the gate would reject whatever the run trains."""
        check_given(window=self.window)
        champion = champion_of(baseline)
        self._describe(baseline, champion)
        compared = self._has_saved_model(champion)
        self._judge(objections(champion, self.window, compared=compared), context)
        return {"name": champion.name, "uri": champion.uri if compared else ""}

    def _has_saved_model(self, champion: Champion) -> bool:
        store, folder = self.store(), champion.uri.rstrip("/")
        return bool(folder) and any(store.exists(f"{folder}/{each}") for each in _SAVED_MODELS)

    def _judge(self, reasons: Sequence[Reason], context: Context) -> None:
        """Stop a run that the gate would reject whatever it trains, unless a person wants it all the same."""
        override = run_of(context).override
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
                f"the model has most of the traffic on endpoint {self.endpoint_name!r}, and cannot be "
                "compared with. Restore the folder, or give the traffic to a model of this DAG; then clear "
                "this task. Or set TAXI_ENDPOINT_NAME to an endpoint of this DAG alone, and start a new run. "
                f"Or {override}: then only policy.toml's absolute rules decide, and the model may be replaced"
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
                self.log.warning("%s is deployed and gets no traffic; undeploy it if nobody needs it", name)


def champion_of(baseline: Baseline) -> Champion:
    """Return the model that served before a run, as the gate knows it."""
    serving = baseline.champion
    if serving is None:
        return Champion()
    return Champion.of(name=str(serving.name), uri=serving.uri, labels=serving.labels)
