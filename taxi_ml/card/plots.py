"""The geometry of the card's plots, in units of their view boxes, and the rows of its tables.

A report may contain any finite number: a model that diverged predicts 1e30 USD. A plot draws no more than its
pixels can show, and values outside its range on its edge.
"""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taxi_ml.gate.metrics import Role, is_finite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taxi_ml.gate.distributions import Drift, FareBand, Fit
    from taxi_ml.gate.metrics import Difference, Interval, Metrics, Slice
    from taxi_ml.gate.policy import DistanceRules, Policy
    from taxi_ml.gate.report import Report, Tuning

WIDTH: Final = 360.0
_LEFT: Final = 34.0
_BOTTOM: Final = 156.0
_TOP: Final = 8.0
_RIGHT: Final = 12.0
_NAMES: Final = 44.0
_LONGEST: Final = 1e6
_MARK_USD: Final = 5
_MOST_MARKS: Final = 8
_MOST_BARS: Final = 150
_MOST_DOTS: Final = 50
_WIDEST: Final = 4.0
"""The length of the calibration's axes in terms of the largest mean fare paid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """A metric of both models, in USD."""

    name: str
    challenger: float | None
    champion: float | None
    difference: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginRow:
    """The high end of a difference's 95 % interval and the highest that the policy allows, in USD."""

    metric: str
    high: float | None
    most: float | None

    @property
    def is_within(self) -> bool:
        """Whether both numbers are known and the margin holds."""
        return is_finite(self.high) and is_finite(self.most) and self.high <= self.most


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalBar:
    """A confidence interval as places from 0 to `WIDTH`; `zero` is where both models are equal.

    `side` is the SVG anchor that keeps a label at `zero` inside.
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
    """A band of fares: the place of its mean, and the size of its dot."""

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
    """A slice, whether it has enough rows to count, and its MAE as a share of the widest bar."""

    part: Slice
    decides: bool
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRow:
    """A distance as a share of the policy's limit; 1 and more reject if the policy counts it."""

    found: Drift
    decides: bool
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """A trial of the Tuner; `is_best` marks the one whose hyperparameters were used."""

    hyperparameters: Mapping[str, float | str]
    score: float | None
    is_best: bool


def metric_rows(report: Report) -> tuple[MetricRow, ...]:
    """Return the errors and the mean fares."""
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
            name="clipped RMSE",
            challenger=ours.clipped_rmse,
            champion=theirs.clipped_rmse if theirs else None,
            difference=found.clipped_rmse if found else None,
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


def margin_rows(report: Report, policy: Policy) -> tuple[tuple[str, tuple[MarginRow, ...]], ...]:
    """Return what the policy allows against each other model of the report, the champion first."""
    every = []
    if report.champion is not None:
        found = _margins(
            report.champion.metrics, report.difference, policy.margin.mae, policy.margin.clipped_rmse
        )
        every.append(("champion", found))
    for role, mae, clipped_rmse in (
        (Role.BASELINE, policy.baseline.mae, policy.baseline.clipped_rmse),
        (Role.ANCHOR, policy.anchor.mae, policy.anchor.clipped_rmse),
    ):
        if (other := report.reference(role)) is not None:
            every.append((role.value, _margins(other.metrics, other.difference, mae, clipped_rmse)))
    return tuple(every)


def _margins(
    theirs: Metrics, difference: Difference | None, mae: float, clipped_rmse: float
) -> tuple[MarginRow, ...]:
    return tuple(
        MarginRow(
            metric=metric,
            high=found.high if found else None,
            most=None if error is None else margin * error,
        )
        for metric, margin, error, found in (
            ("MAE", mae, theirs.mae, difference.mae if difference else None),
            (
                "clipped RMSE",
                clipped_rmse,
                theirs.clipped_rmse,
                difference.clipped_rmse if difference else None,
            ),
        )
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
    # Halves, so that no difference of two numbers overflows.
    halves = [0.0, *(number / 2 for found in whole.values() for number in found)]
    least = min(halves)
    span = (max(halves) - least) or 1.0

    def place(number: float) -> float:
        return round(_NAMES + (WIDTH - _NAMES - _RIGHT) * ((number / 2 - least) / span), 1)

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
    errors = [
        model.mae
        for part in report.slices
        if part.count >= least_rows
        for model in (part.challenger, part.champion)
        if model is not None and model.mae is not None
    ]
    widest = max(errors, default=0.0) or 1.0
    features = list(dict.fromkeys(part.feature for part in report.slices))
    ordered = sorted(
        report.slices, key=lambda part: (features.index(part.feature), _begin(part.value), part.value)
    )
    return tuple(
        SliceRow(
            part=part,
            decides=part.count >= least_rows,
            share=round(_share(part.challenger.mae or 0.0, widest), 3),
        )
        for part in ordered
    )


def _begin(value: str) -> float:
    number = re.match(r"\d+", value)
    return float(number[0]) if number else -1.0


def residual_bars(fit: Fit) -> Histogram:
    """Return the residuals of both models on one scale, with neighbors in one bar if there are too many."""
    ours, theirs = _bins(fit.residuals), _bins(fit.champion_residuals or ())
    most = max((*ours, *theirs, 1.0))
    width = (WIDTH - _LEFT - _RIGHT) / max(len(ours), len(theirs), 1)
    step = (WIDTH - _LEFT - _RIGHT) / max(len(fit.edges) - 1, 1)
    marked = [(index, edge) for index, edge in enumerate(fit.edges) if edge % _MARK_USD == 0]

    def top(count: float) -> float:
        return round(_BOTTOM - (_BOTTOM - _TOP) * (count / most), 1)

    steps = [
        (round(_LEFT + (index + side) * width, 1), top(count))
        for index, count in enumerate(theirs)
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
            for index, count in enumerate(ours)
        ),
        outline=" ".join(f"{x},{y}" for x, y in steps),
        marks=tuple(
            (round(_LEFT + index * step, 1), f"{edge:+zg}")
            for index, edge in marked[:: math.ceil(len(marked) / _MOST_MARKS) or 1]
        ),
    )


def _bins(counts: tuple[float, ...]) -> list[float]:
    size = math.ceil(len(counts) / _MOST_BARS) or 1
    return [
        min(sum(max(count, 0.0) for count in counts[first : first + size]), sys.float_info.max)
        for first in range(0, len(counts), size)
    ]


def calibration_dots(fit: Fit) -> Calibration:
    """Return the mean of each band for both models, in one square scale from 0 USD."""
    bands = fit.bands[:_MOST_DOTS]
    means = [mean for band in bands for mean in (band.paid, band.challenger, band.champion) if mean]
    paid = max((band.paid for band in bands), default=0.0)
    most = max(1.0, min(1.06 * max(means, default=1.0), _WIDEST * max(paid, 1.0), sys.float_info.max))
    rows = max((band.count for band in bands), default=0) or 1

    def across(usd: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - 8) * _share(usd, most), 1)

    def up(usd: float) -> float:
        return round(_BOTTOM - (_BOTTOM - _TOP) * _share(usd, most), 1)

    def dots(means: list[tuple[FareBand, float | None]]) -> tuple[Dot, ...]:
        return tuple(
            Dot(
                x=across(band.paid),
                y=up(mean),
                radius=round(3 + 5 * (band.count / rows) ** 0.5, 1),
                title=f"{band.count} trips: paid {shown(band.paid)} USD, "
                f"predicted {shown(mean)} USD on average",
            )
            for band, mean in means
            if mean is not None
        )

    return Calibration(
        challenger=dots([(band, band.challenger) for band in bands]),
        champion=dots([(band, band.champion) for band in bands]),
        marks=tuple((across(usd), up(usd), f"{usd:g}") for usd in _marks(most)),
    )


def _marks(most: float) -> list[float]:
    """Return every 10 USD up to `most`, or every 20, 50, 100 and so on if those would be too many."""
    least = most / _MOST_MARKS
    power = 10.0 ** max(1, math.floor(math.log10(least)))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)
    return [step * index for index in range(int(most / step) + 1)]


def _share(value: float, most: float) -> float:
    return min(max(value / most, 0.0), 1.0)


def shown(value: float | None, digits: int = 2, sign: str = "") -> str:
    """Return a number with `digits` after the point, or with three significant ones if it is too wide."""
    if value is None:
        return "none"
    return f"{value:{sign}z.{digits}f}" if abs(value) < _LONGEST else f"{value:{sign}.3g}"


def distance_rows(distances: tuple[Drift, ...], rules: DistanceRules) -> tuple[DriftRow, ...]:
    """Return the distances of the splits, the farthest first."""
    rows = (
        DriftRow(
            found=found,
            decides=found.split in rules.splits and found.feature not in rules.ignored_features,
            share=round(_share(found.distance or 0.0, rules.max_distance), 3),
        )
        for found in distances
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
