"""The rules that a challenger must satisfy before it serves: the content of policy.toml."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taxi_ml.gate.fields import Fields
from taxi_ml.splits import Split

SCHEMA_VERSION: Final = 1
DEFAULT_PATH: Final = Path(__file__).with_name("policy.toml")


class PolicyError(ValueError):
    """A policy is unreadable, empty, or requires facts that no report can have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MinRows:
    """The least number of trips in each split."""

    train: int
    eval: int
    test: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxUsd:
    """The highest errors that a model may have over all test rows, whatever it is compared with."""

    rmse: float
    mae: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """The largest loss against the champion in one metric, in USD.

    `significant` bounds the low end of the difference's interval, `estimate` the difference itself.
    """

    significant: float
    estimate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionRules:
    """The largest losses against the champion over all test rows."""

    rmse: Regression
    mae: Regression


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRules:
    """Rules for every slice of at least `min_rows` rows; `features` must be among the slices."""

    features: tuple[str, ...]
    min_rows: int
    max_mae: float
    regression_mae: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyRules:
    """The splits whose anomalies decide, and the kinds of anomaly that never do."""

    splits: frozenset[Split]
    tolerated_kinds: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRules:
    """The largest distances of the trips of `splits` from the champion's training rows.

    `max_distance` bounds the distance of every feature, `max_new_share` the growth of unknown categories,
    both 0 to 1. With `required`, a champion without a record of its training rows is a reason to reject.
    """

    required: bool
    splits: frozenset[Split]
    ignored_features: frozenset[str]
    max_distance: float
    max_new_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All rules of the gate; raising a bar can only turn a promotion into a rejection."""

    require_blessing: bool
    require_tuner: bool
    min_rows: MinRows
    max_usd: MaxUsd
    regression: RegressionRules
    slices: SliceRules
    anomalies: AnomalyRules
    drift: DriftRules

    def __post_init__(self) -> None:
        """Refuse bars that let nothing pass, or that compare nothing.

        Raises:
            PolicyError: naming the rule, its value and what is accepted.

        """
        for name, value in (
            ("max_usd.rmse", self.max_usd.rmse),
            ("max_usd.mae", self.max_usd.mae),
            ("slices.max_mae", self.slices.max_mae),
        ):
            if not 0 < value < math.inf:
                raise PolicyError(f"policy.{name} is {value}; give a ceiling above 0 USD")
        for name, value in (
            ("regression.rmse.significant", self.regression.rmse.significant),
            ("regression.rmse.estimate", self.regression.rmse.estimate),
            ("regression.mae.significant", self.regression.mae.significant),
            ("regression.mae.estimate", self.regression.mae.estimate),
            ("slices.regression_mae", self.slices.regression_mae),
        ):
            if not 0 <= value < math.inf:
                raise PolicyError(f"policy.{name} is {value}; give 0 USD or more")
        for name, value in (
            ("drift.max_distance", self.drift.max_distance),
            ("drift.max_new_share", self.drift.max_new_share),
        ):
            if not 0 < value <= 1:
                raise PolicyError(f"policy.{name} is {value}; give a share above 0, 1 at most")
        if self.min_rows.test < 1 or self.slices.min_rows < 1:
            raise PolicyError("policy.min_rows.test and policy.slices.min_rows must be 1 or more")


def load(path: Path = DEFAULT_PATH) -> Policy:
    """Read a policy file.

    Raises:
        PolicyError: naming the rule that is missing, unknown or wrong.

    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"the policy {path} cannot be read: {error}") from error
    return parse(text)


def parse(text: str) -> Policy:
    """Read a policy; every rule must be there, so that none is left out by mistake.

    Raises:
        PolicyError: naming the rule that is missing, unknown or wrong.

    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"the policy is not valid TOML: {error}") from error
    if not document:
        raise PolicyError("the policy is empty; it would promote everything")
    fields = Fields(document, "policy", PolicyError)
    version = fields.count("schema_version")
    if version != SCHEMA_VERSION:
        raise PolicyError(f"policy.schema_version is {version}; this gate reads {SCHEMA_VERSION}")
    policy = read(fields)
    fields.close()
    return policy


def read(fields: Fields) -> Policy:
    """Read the rules, as a policy file or a decision has them."""
    return Policy(
        require_blessing=fields.flag("require_blessing"),
        require_tuner=fields.flag("require_tuner"),
        min_rows=fields.read(
            "min_rows",
            lambda each: MinRows(train=each.count("train"), eval=each.count("eval"), test=each.count("test")),
        ),
        max_usd=fields.read("max_usd", lambda each: MaxUsd(rmse=each.number("rmse"), mae=each.number("mae"))),
        regression=fields.read(
            "regression",
            lambda each: RegressionRules(
                rmse=each.read("rmse", _regression), mae=each.read("mae", _regression)
            ),
        ),
        slices=fields.read("slices", _slice_rules),
        anomalies=fields.read(
            "anomalies",
            lambda each: AnomalyRules(
                splits=_splits(each, "anomalies"), tolerated_kinds=frozenset(each.texts("tolerated_kinds"))
            ),
        ),
        drift=fields.read("drift", _drift_rules),
    )


def _regression(fields: Fields) -> Regression:
    return Regression(significant=fields.number("significant"), estimate=fields.number("estimate"))


def _slice_rules(fields: Fields) -> SliceRules:
    return SliceRules(
        features=fields.texts("features"),
        min_rows=fields.count("min_rows"),
        max_mae=fields.number("max_mae"),
        regression_mae=fields.number("regression_mae"),
    )


def _drift_rules(fields: Fields) -> DriftRules:
    return DriftRules(
        required=fields.flag("required"),
        splits=_splits(fields, "drift"),
        ignored_features=frozenset(fields.texts("ignored_features")),
        max_distance=fields.number("max_distance"),
        max_new_share=fields.number("max_new_share"),
    )


def _splits(fields: Fields, rules: str) -> frozenset[Split]:
    names = fields.texts("splits")
    unknown = sorted(set(names) - set(Split))
    if unknown:
        raise PolicyError(f"policy.{rules}.splits has {unknown}; the splits are {[str(s) for s in Split]}")
    return frozenset(Split(name) for name in names)
