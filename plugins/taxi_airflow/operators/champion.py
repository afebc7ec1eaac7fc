"""Find the model to beat, which is the one that serves when a run begins."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow.champions import (
    Comparison,
    anchor_of,
    champion_of,
    find_anchor,
    find_members,
    has_saved_model,
    members_of,
)
from taxi_airflow.runs import run_of
from taxi_ml.gate.reasons import ReasonCode
from taxi_ml.settings import Serve
from vertex_airflow.operators.connected import check_given, is_true
from vertex_airflow.operators.deploy import RecordBaselineOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from taxi_ml.gate.champion import Champion
    from vertex_airflow.baseline import Baseline
    from vertex_airflow.hooks.vertex import VertexHook


class FindChampionOperator(RecordBaselineOperator):
    """Record what serves before a run, and refuse a champion that the run cannot be compared with fairly.

    Returns the champion's name and the folder of its files, those of the anchor, and the folders of the
    members, separated by spaces, ``{"name", "uri", "anchor_name", "anchor_uri", "members"}``; they are empty
    if nothing serves, if no earlier version can be the anchor, or if the run averages no models.

    The anchor is the best other version of the registered model that has served and was trained for a window
    that ends within the 12 months before this one's, by its label `skill` (`taxi_ml.gate.anchor`). A version
    that was trained on this window's test months, or whose files are gone, is passed over.

    Where a mean is to serve, the members are the newest versions that have served, of windows that end before
    this one. The run's model is averaged with them. The same versions are passed over.

    The task fails before anything is recorded where the champion's files are gone, or where it was trained
    on this window's test months or for a later window. Preflight has looked for that before the run waited
    for its trips, and another model may serve since. A run whose form overrides that reason goes on; where
    the files are gone, ``uri`` is empty. So does a run that only evaluates, with a champion that is too new:
    the gate rejects what comes of it.

    :param model_name: display name of the registered model, whose versions may be the anchor
    :param window: id of the window that the run trains and tests on
    :param evaluate_only: whether the run promotes nothing
    :param compares: whether to compare the run with what serves; if false, the champion is ignored
    :param serve: what is to serve, ``newest`` or ``mean_of_3``; see `taxi_ml.settings.Serve`
    """

    template_fields: Sequence[str] = (
        *RecordBaselineOperator.template_fields,
        "model_name",
        "window",
        "evaluate_only",
        "compares",
        "serve",
    )

    def __init__(
        self,
        *,
        model_name: str,
        window: str,
        evaluate_only: bool | str = False,
        compares: bool | str = True,
        serve: str = Serve.NEWEST,
        **kwargs: Any,  # noqa: ANN401  # RecordBaselineOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.model_name = model_name
        self.window = window
        self.evaluate_only = evaluate_only
        self.compares = compares
        self.serve = serve

    def look(self, hook: VertexHook) -> Baseline:
        """Return what serves, the anchor, and the members."""
        found = super().look(hook)
        store = self.store()
        anchor = find_anchor(hook, store, self.model_name, self.window, found.champion)
        members = find_members(hook, store, self.model_name, self.window, Serve(self.serve).earlier)
        return replace(found, anchor=anchor, members=members)

    def returned(self, context: Context, baseline: Baseline) -> dict[str, str]:
        """Return the champion; raise where the gate would reject whatever the run trains."""
        check_given(window=self.window)
        if not is_true(self.compares):
            self.log.info("Compare is off: this run is compared with no model")
            return {"name": "", "uri": "", "anchor_name": "", "anchor_uri": "", "members": ""}
        champion = champion_of(baseline)
        self._describe(baseline, champion)
        compared = has_saved_model(self.store(), champion)
        found = Comparison(
            champion=champion, window=self.window, endpoint_name=self.endpoint_name, compared=compared
        )
        self._judge(found, context)
        anchor = anchor_of(baseline)
        # Its files may have been deleted since a try that recorded it.
        kept = has_saved_model(self.store(), anchor)
        self.log.info("Anchor: %s", f"{anchor.name} of {anchor.window}" if kept else "none")
        members = [each for each in members_of(baseline) if has_saved_model(self.store(), each)]
        for each in members:
            self.log.info("The run's model is averaged with %s of %s", each.name, each.window)
        return {
            "name": champion.name,
            "uri": champion.uri if compared else "",
            "anchor_name": anchor.name if kept else "",
            "anchor_uri": anchor.uri.rstrip("/") if kept else "",
            "members": " ".join(each.uri.rstrip("/") for each in members),
        }

    def _judge(self, found: Comparison, context: Context) -> None:
        """Stop a run that the gate would reject whatever it trains, unless its form accepts it."""
        override = run_of(context).override
        accepted = override.codes if override else frozenset()
        if is_true(self.evaluate_only):
            accepted |= {ReasonCode.CHAMPION_NEWER}
        for reason in found.objections():
            self.log.warning("%s", reason)
        if refused := found.refusals(accepted):
            raise AirflowFailException("\n".join(f"{reason}: {remedy}" for reason, remedy in refused))

    def _describe(self, baseline: Baseline, champion: Champion) -> None:
        if not champion.name:
            self.log.info("Nothing serves on %r: there is no champion to beat", self.endpoint_name)
        elif champion.training:
            self.log.info("%s of %s serves from %s", champion.name, champion.window, champion.uri)
        else:
            self.log.warning(
                "%s serves from %s; it has no label `trained_until` or `window`, and may have been trained "
                "on this run's test months",
                champion.name,
                champion.uri,
            )
        for each, name in baseline.deployed.items():
            if each not in baseline.split:
                self.log.warning("%s is deployed and gets no traffic; undeploy it if nobody needs it", name)
