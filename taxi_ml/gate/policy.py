"""The rules that a challenger must satisfy before it serves: the content of policy.toml."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taxi_ml.gate.fields import Fields
from taxi_ml.splits import Split

SCHEMA_VERSION: Final = 2
LEAST_SLICE_ROWS: Final = 30
"""Fewer rows say too little about their own variance for a test of a slice."""
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
class Margins:
    """How far above another model's error the upper end of the difference's 95 % interval may be.

    They are fractions of the other model's error, so that they mean the same for any fares and any size.
    """

    mae: float
    clipped_rmse: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChampionMargins:
    """The margins against the champion.

    A challenger whose upper end in MAE is more than `better` below the champion's error is certainly better:
    comparisons with other models, slices and skew only warn, since users would do worse with the champion.
    """

    mae: float
    clipped_rmse: float
    better: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineMargins:
    """The margins against the baseline; with `required`, a report without one is a reason to reject."""

    mae: float
    clipped_rmse: float
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRules:
    """Rules for every slice of at least `min_rows` rows; `features` must be among the slices.

    `champion` and `baseline` are the margins in MAE, as fractions of that model's error in the slice. All
    slices together reject an allowed model with probability `alpha` at most, by Holm's correction.
    """

    features: tuple[str, ...]
    min_rows: int
    alpha: float
    champion: float
    baseline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyRules:
    """The splits whose anomalies decide, and the kinds of anomaly that never do."""

    splits: frozenset[Split]
    tolerated_kinds: frozenset[str]

    def apply_to(self, split: Split, kind: str) -> bool:
        """Return True if an anomaly of this kind in this split decides."""
        return split in self.splits and kind not in self.tolerated_kinds


@dataclass(frozen=True, slots=True, kw_only=True)
class DistanceRules:
    """The largest distances of the trips of `splits` from a model's training rows.

    `max_distance` bounds the distance of every feature, `max_new_share` the growth of unknown categories,
    both 0 to 1.
    """

    splits: frozenset[Split]
    ignored_features: frozenset[str]
    max_distance: float
    max_new_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitRules:
    """How far a refit's fares may be from the judged model's, as fractions of that one's MAE.

    `mean_absolute` bounds the mean of the distances, `mean_signed` that of the differences, up or down.
    """

    mean_absolute: float
    mean_signed: float


_REFIT: Final = RefitRules(mean_absolute=0.25, mean_signed=0.2)
"""The rules of policies and decisions from before there were refits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All rules of the gate; raising a bar can only turn a promotion into a rejection."""

    require_blessing: bool
    require_tuner: bool
    min_rows: MinRows
    max_usd: MaxUsd
    margin: ChampionMargins
    baseline: BaselineMargins
    anchor: Margins
    slices: SliceRules
    anomalies: AnomalyRules
    drift: DistanceRules
    skew: DistanceRules
    refit: RefitRules = _REFIT

    def __post_init__(self) -> None:
        """Refuse bars that let nothing pass, or that compare nothing.

        Raises:
            PolicyError: naming the rule, its value and what is accepted.

        """
        for rule in ("max_usd.rmse", "max_usd.mae"):
            if not 0 < (value := self._bar(rule)) < math.inf:
                raise PolicyError(f"policy.{rule} is {value}; give a ceiling above 0 USD")
        for rule in _MARGINS:
            if not 0 <= (value := self._bar(rule)) < math.inf:
                raise PolicyError(f"policy.{rule} is {value}; give a fraction, 0 or more, such as 0.02")
        for rule in _SHARES:
            if not 0 < (value := self._bar(rule)) <= 1:
                raise PolicyError(f"policy.{rule} is {value}; give a share above 0, 1 at most")
        if self.min_rows.test < 1:
            raise PolicyError("policy.min_rows.test must be 1 or more")
        if self.slices.min_rows < LEAST_SLICE_ROWS:
            raise PolicyError(
                f"policy.slices.min_rows is {self.slices.min_rows}; give {LEAST_SLICE_ROWS} or more, because "
                "fewer rows say too little about their variance"
            )

    def _bar(self, rule: str) -> float:
        table, name = rule.split(".")
        value: float = getattr(getattr(self, table), name)
        return value


_MARGINS: Final = (
    "margin.mae",
    "margin.clipped_rmse",
    "margin.better",
    "baseline.mae",
    "baseline.clipped_rmse",
    "anchor.mae",
    "anchor.clipped_rmse",
    "slices.champion",
    "slices.baseline",
    "refit.mean_absolute",
    "refit.mean_signed",
)
_SHARES: Final = (
    "slices.alpha",
    "drift.max_distance",
    "drift.max_new_share",
    "skew.max_distance",
    "skew.max_new_share",
)


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
        raise PolicyError(
            f"policy.schema_version is {version}; this gate reads {SCHEMA_VERSION}, in which margins are "
            "fractions of another model's error; start from taxi_ml/gate/policy.toml"
        )
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
        margin=fields.read(
            "margin",
            lambda each: ChampionMargins(
                mae=each.number("mae"),
                clipped_rmse=each.number("clipped_rmse"),
                better=each.number("better"),
            ),
        ),
        baseline=fields.read(
            "baseline",
            lambda each: BaselineMargins(
                mae=each.number("mae"),
                clipped_rmse=each.number("clipped_rmse"),
                required=each.flag("required"),
            ),
        ),
        anchor=fields.read(
            "anchor",
            lambda each: Margins(mae=each.number("mae"), clipped_rmse=each.number("clipped_rmse")),
        ),
        slices=fields.read("slices", _slice_rules),
        anomalies=fields.read(
            "anomalies",
            lambda each: AnomalyRules(
                splits=_splits(each, "anomalies"), tolerated_kinds=frozenset(each.texts("tolerated_kinds"))
            ),
        ),
        drift=fields.read("drift", lambda each: _distance_rules(each, "drift")),
        skew=fields.read("skew", lambda each: _distance_rules(each, "skew")),
        refit=(
            fields.read(
                "refit",
                lambda each: RefitRules(
                    mean_absolute=each.number("mean_absolute"), mean_signed=each.number("mean_signed")
                ),
            )
            if fields.has("refit")
            else _REFIT
        ),
    )


def _slice_rules(fields: Fields) -> SliceRules:
    return SliceRules(
        features=fields.texts("features"),
        min_rows=fields.count("min_rows"),
        alpha=fields.number("alpha"),
        champion=fields.number("champion"),
        baseline=fields.number("baseline"),
    )


def _distance_rules(fields: Fields, rules: str) -> DistanceRules:
    return DistanceRules(
        splits=_splits(fields, rules),
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
