"""The models that a run is compared with, and why it may not be compared with the one that serves."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from taxi_ml.gate.anchor import Candidate, best_first
from taxi_ml.gate.champion import Champion, newest_first, parse_window
from taxi_ml.gate.decision import objections
from taxi_ml.gate.reasons import ReasonCode
from vertex_airflow import model_registry

if TYPE_CHECKING:
    from collections.abc import Collection

    from taxi_ml.gate.reasons import Reason
    from vertex_airflow.baseline import Baseline
    from vertex_airflow.hooks.vertex import VertexHook
    from vertex_airflow.model_registry import RegisteredModel
    from vertex_airflow.objects import ObjectStore

# As the Evaluator looks for it: a registered model, or the Trainer's own layout.
_SAVED_MODELS = ("saved_model.pb", "Format-Serving/saved_model.pb")


def champion_of(baseline: Baseline) -> Champion:
    """Return the model that served before a run, as the gate knows it."""
    serving = baseline.champion
    if serving is None:
        return Champion()
    return Champion.of(name=str(serving.name), uri=serving.uri, labels=serving.labels)


def anchor_of(baseline: Baseline) -> Champion:
    """Return the earlier champion that a run is compared with too, as the gate knows it."""
    anchor = baseline.anchor
    if anchor is None:
        return Champion()
    return Champion.of(name=str(anchor.name), uri=anchor.uri, labels=anchor.labels)


def members_of(baseline: Baseline) -> list[Champion]:
    """Return the earlier models that a run averages its own with, as the gate knows them."""
    return [Champion.of(name=str(each.name), uri=each.uri, labels=each.labels) for each in baseline.members]


def find_anchor(
    hook: VertexHook, store: ObjectStore, model_name: str, window: str, champion: RegisteredModel | None
) -> RegisteredModel | None:
    """Return the best other version of a model that has served lately, if its files are still there."""
    model = model_registry.find_model(hook, model_name)
    served = model_registry.list_served(hook, model) if model is not None else []
    versions = {str(each.name): each for each in served if champion is None or each.name != champion.name}
    candidates = (
        Candidate.of(name=name, uri=each.uri, labels=each.labels) for name, each in versions.items()
    )
    for found in best_first(filter(None, candidates), window):
        version = versions[found.model.name]
        if _has_served(hook, version) and has_saved_model(store, found.model):
            return version
    return None


def find_members(
    hook: VertexHook, store: ObjectStore, model_name: str, window: str, most: int
) -> tuple[RegisteredModel, ...]:
    """Return the last versions of a model that have served and precede a window, the newest first.

    There are `most` at most. One whose files are gone is passed over.
    """
    model = model_registry.find_model(hook, model_name) if most else None
    served = model_registry.list_served(hook, model) if model is not None else []
    # The registry counts the versions of a model.
    served.sort(key=lambda each: int(each.name.version or 0), reverse=True)
    versions = {str(each.name): each for each in served}
    known = (Champion.of(name=name, uri=each.uri, labels=each.labels) for name, each in versions.items())
    kept = (
        versions[found.name]
        for found in newest_first(known, window)
        if _has_served(hook, versions[found.name]) and has_saved_model(store, found)
    )
    return tuple(islice(kept, most))


def _has_served(hook: VertexHook, version: RegisteredModel) -> bool:
    """Return whether a listed version has served; the list may be from before a roll-back."""
    return model_registry.served_alias(version.name) in model_registry.aliases_of(hook, version.name)


def has_saved_model(store: ObjectStore, champion: Champion) -> bool:
    """Return whether a model's files are still there, so that a challenger can be compared with it."""
    folder = champion.uri.rstrip("/")
    return bool(folder) and any(store.exists(f"{folder}/{each}") for each in _SAVED_MODELS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A run of the window with this id, and the champion that it would be compared with."""

    champion: Champion
    window: str
    endpoint_name: str
    compared: bool

    def objections(self) -> tuple[Reason, ...]:
        """Return the reasons for which the gate would reject whatever the run trains."""
        return objections(self.champion, self.window, compared=self.compared)

    def refusals(self, accepted: Collection[ReasonCode]) -> list[tuple[Reason, str]]:
        """Return each reason that the run's form does not accept, with the ways out."""
        return [(each, self._remedy(each)) for each in self.objections() if each.code not in accepted]

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
            f"a model of a later window. Turn Promote off to evaluate only, give {self._fair_window()}, or "
            f"{override}"
        )

    def _fair_window(self) -> str:
        """Return the windows that can be compared: those whose test months follow the champion's training."""
        run, training = parse_window(self.window), self.champion.training
        left = run.months_since(training.until) if run and training else 0
        if run is None or training is None or left < 1:
            return "another window_end"
        return f"{left} as test_months (the months since {training.until}), another window_end"
