"""The geometry of the card's plots, in units of their view boxes, and the rows of its tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taxi_ml.gate.distributions import Drift, Fit
    from taxi_ml.gate.policy import DriftRules
    from taxi_ml.gate.report import Interval, Report, Slice, Tuning

WIDTH: Final = 360.0
_LEFT: Final = 34.0
_BOTTOM: Final = 156.0
_TOP: Final = 8.0
_RIGHT: Final = 12.0
_NAMES: Final = 44.0
_MARK_USD: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """A metric of both models, in USD."""

    name: str
    challenger: float | None
    champion: float | None
    difference: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalBar:
    """A confidence interval as places from 0 to `WIDTH`; `zero` is where both models are equal.

    `side` is the SVG anchor of a text at `zero` that stays inside.
    """

    name: str
    low: float
    estimate: float
    high: float
    zero: float
    side: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A rectangle of a histogram."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Bars of the challenger, the champion's outline as points of a polyline, and marks on the axis."""

    bars: tuple[Bar, ...]
    outline: str
    marks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A band of fares: where its mean lies, and how large its dot is."""

    x: float
    y: float
    radius: float
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Mean predicted over mean true fare; on the diagonal a model is right on average."""

    challenger: tuple[Dot, ...]
    champion: tuple[Dot, ...]
    marks: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRow:
    """A slice, whether it has rows enough to decide, and its MAE as a share of the widest bar."""

    part: Slice
    decides: bool
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRow:
    """A distance as a share of its bar in the policy; 1 and more reject where it decides."""

    found: Drift
    decides: bool
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """A trial of the Tuner; `is_best` marks the one that was trained with."""

    hyperparameters: Mapping[str, float | str]
    score: float | None
    is_best: bool


def metric_rows(report: Report) -> tuple[MetricRow, ...]:
    """Return RMSE, MAE and the mean fares."""
    ours, theirs = report.challenger.metrics, report.champion.metrics if report.champion else None
    found = report.difference
    return (
        MetricRow(
            name="RMSE",
            challenger=ours.rmse,
            champion=theirs.rmse if theirs else None,
            difference=found.rmse if found else None,
        ),
        MetricRow(
            name="MAE",
            challenger=ours.mae,
            champion=theirs.mae if theirs else None,
            difference=found.mae if found else None,
        ),
        MetricRow(
            name="mean predicted fare",
            challenger=ours.mean_prediction,
            champion=theirs.mean_prediction if theirs else None,
            difference=None,
        ),
        MetricRow(
            name="mean paid fare",
            challenger=ours.mean_label,
            champion=theirs.mean_label if theirs else None,
            difference=None,
        ),
    )


def difference_bars(report: Report) -> tuple[IntervalBar, ...]:
    """Return the intervals of the differences on one scale, with 0 in it; none with a number missing."""
    if report.difference is None:
        return ()
    ends = {
        name: (found.low, found.estimate, found.high)
        for name, found in (("RMSE", report.difference.rmse), ("MAE", report.difference.mae))
    }
    whole = {
        name: (low, estimate, high)
        for name, (low, estimate, high) in ends.items()
        if low is not None and estimate is not None and high is not None
    }
    numbers = [0.0, *(number for found in whole.values() for number in found)]
    least, most = min(numbers), max(numbers)
    span = (most - least) or 1.0

    def place(number: float) -> float:
        return round(_NAMES + (WIDTH - _NAMES - _RIGHT) * (number - least) / span, 1)

    zero = place(0.0)
    side = "start" if zero < WIDTH / 3 else "end" if zero > 2 * WIDTH / 3 else "middle"
    return tuple(
        IntervalBar(
            name=name, low=place(low), estimate=place(estimate), high=place(high), zero=zero, side=side
        )
        for name, (low, estimate, high) in whole.items()
    )


def slice_rows(report: Report, least_rows: int) -> tuple[SliceRow, ...]:
    """Return all slices: features as the report has them, values and bands by where they begin."""
    errors = [error for part in report.slices if part.count >= least_rows for error in _errors(part)]
    widest = max(errors, default=0.0) or 1.0
    return tuple(
        SliceRow(
            part=part,
            decides=part.count >= least_rows,
            share=round(min((part.challenger.mae or 0.0) / widest, 1.0), 3),
        )
        for part in _ordered(report.slices)
    )


def _ordered(slices: tuple[Slice, ...]) -> list[Slice]:
    features = list(dict.fromkeys(part.feature for part in slices))
    return sorted(slices, key=lambda part: (features.index(part.feature), _begin(part.value), part.value))


def _begin(value: str) -> float:
    number = re.match(r"\d+", value)
    return float(number[0]) if number else -1.0


def _errors(part: Slice) -> list[float]:
    both = (part.challenger.mae, part.champion.mae if part.champion else None)
    return [error for error in both if error is not None]


def residual_bars(fit: Fit) -> Histogram:
    """Return the residuals of both models on one scale."""
    most = max((*fit.residuals, *(fit.champion_residuals or ()), 1.0))
    width = (WIDTH - _LEFT - _RIGHT) / max(len(fit.residuals), 1)

    def top(count: float) -> float:
        return round(_BOTTOM - (_BOTTOM - _TOP) * count / most, 1)

    steps = [
        (round(_LEFT + (index + side) * width, 1), top(count))
        for index, count in enumerate(fit.champion_residuals or ())
        for side in (0, 1)
    ]
    return Histogram(
        bars=tuple(
            Bar(
                x=round(_LEFT + index * width, 1),
                y=top(count),
                width=round(width * 0.86, 1),
                height=round(_BOTTOM - top(count), 1),
            )
            for index, count in enumerate(fit.residuals)
        ),
        outline=" ".join(f"{x},{y}" for x, y in steps),
        marks=tuple(
            (round(_LEFT + index * width, 1), f"{edge:+g}")
            for index, edge in enumerate(fit.edges)
            if edge % _MARK_USD == 0
        ),
    )


def calibration_dots(fit: Fit) -> Calibration:
    """Return the mean of each band for both models, in one square scale from 0 USD."""
    means = [mean for band in fit.bands for mean in (band.paid, band.challenger, band.champion) if mean]
    most = max(means, default=1.0) * 1.06
    rows = max((band.count for band in fit.bands), default=1)

    def dot(paid: float, predicted: float, count: int) -> Dot:
        return Dot(
            x=round(_LEFT + (WIDTH - _LEFT - 8) * paid / most, 1),
            y=round(_BOTTOM - (_BOTTOM - _TOP) * max(predicted, 0.0) / most, 1),
            radius=round(3 + 5 * (count / rows) ** 0.5, 1),
            title=f"{count} trips: paid {paid:.2f} USD, predicted {predicted:.2f} USD on average",
        )

    return Calibration(
        challenger=tuple(dot(band.paid, band.challenger, band.count) for band in fit.bands),
        champion=tuple(
            dot(band.paid, band.champion, band.count) for band in fit.bands if band.champion is not None
        ),
        marks=tuple(
            (
                round(_LEFT + (WIDTH - _LEFT - 8) * usd / most, 1),
                round(_BOTTOM - (_BOTTOM - _TOP) * usd / most, 1),
                f"{usd}",
            )
            for usd in range(0, int(most) + 1, 10)
        ),
    )


def drift_rows(report: Report, rules: DriftRules) -> tuple[DriftRow, ...]:
    """Return the distances of the splits, the farthest first."""
    rows = (
        DriftRow(
            found=found,
            decides=found.split in rules.splits and found.feature not in rules.ignored_features,
            share=round(min((found.distance or 0.0) / rules.max_distance, 1.0), 3),
        )
        for found in report.drift
    )
    return tuple(sorted(rows, key=lambda row: (not row.decides, -(row.found.distance or 0.0))))


def trial_rows(tuner: Tuning) -> tuple[TrialRow, ...]:
    """Return the Tuner's trials in the report's order, which has the best first."""
    return tuple(
        TrialRow(
            hyperparameters=trial.hyperparameters,
            score=trial.score,
            is_best=trial.hyperparameters == tuner.best,
        )
        for trial in tuner.history
    )
