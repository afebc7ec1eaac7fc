"""Errors of models on the same rows, and the differences between them, as report.json has them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeGuard

if TYPE_CHECKING:
    from taxi_ml.gate.fields import Fields

_CONTRADICTION_USD: Final = 0.01
_CONTRADICTION_RATIO: Final = 0.001

DIFFERENCES: Final = ("rmse", "clipped_rmse", "mae")
"""The metrics that are compared; each is a field of `Metrics` and of `Difference`."""


class Role(StrEnum):
    """The models other than the champion that a challenger is compared with."""

    BASELINE = "baseline"
    ANCHOR = "anchor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """One model's errors on one set of rows, in USD; None is a number that could not be computed.

    `clipped_rmse` counts an error above a bound as one of the bound, so that a few trips cannot decide it.
    """

    rmse: float | None
    mae: float | None
    count: int
    mean_label: float | None
    mean_prediction: float | None = None
    clipped_rmse: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its 95 % confidence interval and its standard error, in USD."""

    estimate: float | None
    low: float | None
    high: float | None
    error: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Challenger minus another model on the same rows: above zero, the challenger is worse."""

    rmse: Interval
    clipped_rmse: Interval
    mae: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A model that bounds losses over many months; `difference` is challenger minus this model.

    The baseline is trained on the run's own rows and has no `uri`. The anchor is the best of the last months'
    champions.
    """

    role: Role
    name: str
    uri: str
    metrics: Metrics
    difference: Difference | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The models on the test rows whose `feature` is `value`, a category or a band.

    `champion` and `baseline` are None if the report has no such model, the differences also if the rows are
    too few for a standard error.
    """

    feature: str
    value: str
    count: int
    challenger: Metrics
    champion: Metrics | None = None
    difference: Difference | None = None
    baseline: Metrics | None = None
    baseline_difference: Difference | None = None

    @property
    def name(self) -> str:
        """The slice's name for people, such as `TripStartHour=17`."""
        return f"{self.feature}={self.value}"


def is_finite(value: float | None) -> TypeGuard[float]:
    """Return True for a number that is neither missing, infinite nor NaN."""
    return value is not None and math.isfinite(value)


def contradiction(ours: Metrics, theirs: Metrics, difference: Difference | None, other: str) -> str:
    """Return what is wrong with a comparison, or an empty string; `other` names the other model."""
    if ours.count != theirs.count:
        return (
            f"the challenger was scored on {ours.count} rows and the {other} on {theirs.count}; "
            "compare scores on the same rows"
        )
    for metric in DIFFERENCES if difference else ():
        given: float | None = getattr(difference, metric).estimate
        mine: float | None = getattr(ours, metric)
        its: float | None = getattr(theirs, metric)
        if is_finite(mine) and is_finite(its) and is_finite(given):
            allowed = _CONTRADICTION_USD + _CONTRADICTION_RATIO * max(abs(mine), abs(its))
            if abs(mine - its - given) > allowed:
                return (
                    f"the difference in {metric} from the {other} is given as {given:.6g}, "
                    f"but {mine:.6g} - {its:.6g} is {mine - its:.6g}"
                )
    return ""


def metrics(fields: Fields) -> Metrics:
    """Read a model's metrics."""
    return Metrics(
        rmse=fields.size_or_none("rmse"),
        clipped_rmse=fields.size_or_none("clipped_rmse"),
        mae=fields.size_or_none("mae"),
        count=fields.count("count"),
        mean_label=fields.number_or_none("mean_label"),
        mean_prediction=fields.number_or_none("mean_prediction"),
    )


def difference(fields: Fields) -> Difference:
    """Read the difference between two models."""
    return Difference(
        rmse=fields.read("rmse", _interval),
        clipped_rmse=fields.read("clipped_rmse", _interval),
        mae=fields.read("mae", _interval),
    )


def reference(fields: Fields) -> Reference:
    """Read a reference."""
    return Reference(
        role=fields.choice("role", Role),
        name=fields.text("name"),
        uri=fields.text("uri"),
        metrics=fields.read("metrics", metrics),
        difference=fields.read_or_none("difference", difference),
    )


def part(fields: Fields) -> Slice:
    """Read a slice."""
    return Slice(
        feature=fields.text("feature"),
        value=fields.text("value"),
        count=fields.count("count"),
        challenger=fields.read("challenger", metrics),
        champion=fields.read_or_none("champion", metrics),
        difference=fields.read_or_none("difference", difference) if fields.has("difference") else None,
        baseline=fields.read_or_none("baseline", metrics) if fields.has("baseline") else None,
        baseline_difference=(
            fields.read_or_none("baseline_difference", difference)
            if fields.has("baseline_difference")
            else None
        ),
    )


def _interval(fields: Fields) -> Interval:
    return Interval(
        estimate=fields.number_or_none("estimate"),
        low=fields.number_or_none("low"),
        high=fields.number_or_none("high"),
        error=fields.size_or_none("error"),
    )
