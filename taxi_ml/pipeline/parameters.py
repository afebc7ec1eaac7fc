"""The parameters of a compiled pipeline, whose values differ from run to run.

A month without a change of code or settings reuses the compiled pipeline with other values.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from taxi_ml import naming, sizing
from taxi_ml.gate import policy
from taxi_ml.gate.reasons import ReasonCode
from taxi_ml.splits import Split
from taxi_ml.sql.ranges import ranges

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from taxi_ml.gate.champion import Champion
    from taxi_ml.gate.decision import Override
    from taxi_ml.gate.policy import AnomalyRules
    from taxi_ml.pipeline.request import CompileRequest
    from taxi_ml.settings import Settings
    from taxi_ml.sql.columns import Range
    from taxi_ml.window import Window


class Parameter(StrEnum):
    """The parameters of the compiled pipeline; all are strings."""

    WINDOW = "window"
    DATA_URI = "data_uri"
    CACHE_PERIOD = "cache_period"
    ANOMALY_RULES = "anomaly_rules"
    TRAIN_ARGS = "train_args"
    REFIT_ARGS = "refit_args"
    TRAINING_OPTIONS = "training_options"
    PUSH_DESTINATION = "push_destination"
    CHAMPION_NAME = "champion_name"
    CHAMPION_URI = "champion_uri"
    ANCHOR_NAME = "anchor_name"
    ANCHOR_URI = "anchor_uri"


OF_A_CHAMPION = frozenset({Parameter.CHAMPION_NAME, Parameter.CHAMPION_URI})
"""The parameters that only a pipeline with a champion has."""

OF_A_REFIT = frozenset({Parameter.REFIT_ARGS})
"""The parameters that only a pipeline with a refit has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunParameters:
    """The values of one run.

    Folders are gs:// addresses or local paths. `window` is the window's id. `cache_period` is part of the
    cache's key (`taxi_ml.naming.cache_period`). `ranges` are the smallest and the largest value of each
    feature that a prediction request may have. Without an anchor, the values of its parameters are empty: a
    pipeline of its own for that would be compiled for the third run. `averages` is the pattern of the files
    with the pair averages, or empty. `members` are the folders of earlier models whose mean with the new one
    is judged and served; there are none unless the settings ask for a mean. `anomalies` says which of the
    trips' anomalies stop the run.
    """

    window: str
    data_uri: str
    serving_uri: str
    train_steps: int
    cache_period: str
    anomalies: AnomalyRules
    ranges: Mapping[str, Range]
    champion: Champion | None = None
    anchor: Champion | None = None
    averages: str = ""
    members: tuple[str, ...] = ()

    @classmethod
    def of(  # noqa: PLR0913  # each is a fact of the run
        cls,
        settings: Settings,
        window: Window,
        *,
        champion: Champion | None,
        anchor: Champion | None = None,
        members: tuple[str, ...] = (),
        cache_day: date | None,
        override: Override | None = None,
    ) -> Self:
        """Return the parameters of a run of these settings over this window.

        It may use cached outputs of the period of `cache_day`, the day of the run; None turns the cache off.
        An override of `data_anomaly` lets it train on trips whatever their anomalies.
        """
        rules = policy.load().anomalies
        if override is not None and ReasonCode.DATA_ANOMALY in override.codes:
            rules = replace(rules, splits=frozenset())
        return cls(
            window=window.id,
            data_uri=naming.data_uri(settings, window),
            serving_uri=naming.serving_uri(settings, window),
            train_steps=settings.train_steps or sizing.LEAST_STEPS,
            cache_period=naming.cache_period(cache_day, settings.cache_days) if cache_day else "",
            anomalies=rules,
            ranges=ranges(settings, window),
            champion=champion,
            anchor=anchor,
            averages=naming.averages_uri(settings, window),
            members=members,
        )

    def values(self, request: CompileRequest) -> dict[str, str]:
        """Return the values by name for the pipeline that `request` compiles to.

        Equal runs give equal strings. Those of TFX's protos and options are JSON, as its executors read them.
        """
        values: dict[str, Any] = {
            Parameter.WINDOW: self.window,
            Parameter.DATA_URI: self.data_uri,
            Parameter.CACHE_PERIOD: self.cache_period,
            Parameter.ANOMALY_RULES: {
                "splits": sorted(self.anomalies.splits),
                "tolerated_kinds": sorted(self.anomalies.tolerated_kinds),
            },
            Parameter.TRAIN_ARGS: {"num_steps": self.train_steps, "splits": [Split.TRAIN]},
            Parameter.TRAINING_OPTIONS: {
                **training_options(request),
                "ranges": self.ranges,
                "averages": self.averages,
                "members": self.members,
            },
            Parameter.PUSH_DESTINATION: {"filesystem": {"base_directory": self.serving_uri}},
            Parameter.ANCHOR_NAME: self.anchor.name if self.anchor else "",
            Parameter.ANCHOR_URI: self.anchor.uri if self.anchor else "",
        }
        if request.refit:
            values[Parameter.REFIT_ARGS] = {
                "num_steps": self.train_steps,
                "splits": [Split.TRAIN, Split.TEST],
            }
        if self.champion is not None:
            values[Parameter.CHAMPION_NAME] = self.champion.name
            values[Parameter.CHAMPION_URI] = self.champion.uri
        return {
            str(name): value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            for name, value in values.items()
        }


def names(request: CompileRequest) -> list[str]:
    """Return the parameters of the pipeline that `request` compiles to."""
    absent: frozenset[Parameter] = frozenset()
    absent |= frozenset() if request.compares else OF_A_CHAMPION
    absent |= frozenset() if request.refit else OF_A_REFIT
    return [str(name) for name in Parameter if name not in absent]


def training_options(request: CompileRequest) -> dict[str, Any]:
    """Return the options of the Tuner, and of the Trainer except what differs from run to run."""
    return {
        "batch_size": request.batch_size,
        "seed": request.seed,
        "tuner_trials": request.tuner_trials,
        "tuner_steps": request.tuner_steps,
        "tuner_minutes": request.tuner_minutes,
    }
