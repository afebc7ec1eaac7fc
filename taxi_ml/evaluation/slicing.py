"""Errors in slices of the test rows: all values of a column at once, in time that does not grow with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from taxi_ml.evaluation.scores import CLIP_USD
from taxi_ml.gate.metrics import Difference, Interval, Metrics, Slice
from taxi_ml.gate.policy import LEAST_SLICE_ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from taxi_ml.evaluation.scores import Numbers, Predictions

_HALF_WIDTH: Final = 1.959964
"""Of a 95 % interval of a normal estimate, in standard errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Groups:
    """The rows of each value of a column: `group` is each row's value, by position, of shape [rows]."""

    group: NDArray[np.int64]
    counts: NDArray[np.int64]

    def means(self, values: Numbers) -> Numbers:
        """Return the mean of each group, of shape [groups]."""
        return np.bincount(self.group, values, len(self.counts)) / self.counts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    """One model's errors: of each row, and RMSE, clipped RMSE and MAE of each group, in USD."""

    sizes: Numbers
    rmse: Numbers
    clipped_rmse: Numbers
    mae: Numbers
    means: Numbers


def slices(predictions: Predictions, columns: Mapping[str, NDArray[Any]]) -> tuple[Slice, ...]:
    """Return the metrics of every value of every column, in the columns' order and by value.

    The differences' intervals are normal ones: of means for MAE, and by the delta method for the roots
    (van der Vaart 1998, chapter 3). A slice of fewer than 30 rows has none.
    """
    return tuple(
        part for feature, column in columns.items() for part in _of_column(predictions, feature, column)
    )


def _of_column(predictions: Predictions, feature: str, column: NDArray[Any]) -> list[Slice]:
    values, group, counts = np.unique(column, return_inverse=True, return_counts=True)
    groups = _Groups(group=group.reshape(-1), counts=counts)
    labels = groups.means(predictions.fares)
    # Sums over a group with a number that is not finite are not finite either, and become None.
    with np.errstate(invalid="ignore", over="ignore"):
        ours, champion, baseline = (
            None if fares is None else _scored(groups, predictions.fares, fares)
            for fares in (predictions.challenger, predictions.champion, predictions.baseline)
        )
        if ours is None:
            return []
        differences = [_differences(groups, ours, other) for other in (champion, baseline)]
    return [
        Slice(
            feature=feature,
            value=str(value),
            count=int(counts[index]),
            challenger=_metrics(groups, ours, labels, index),
            champion=_metrics(groups, champion, labels, index) if champion else None,
            difference=differences[0][index],
            baseline=_metrics(groups, baseline, labels, index) if baseline else None,
            baseline_difference=differences[1][index],
        )
        for index, value in enumerate(values)
    ]


def _scored(groups: _Groups, fares: Numbers, predicted: Numbers) -> _Scored:
    sizes = np.abs(predicted - fares)
    clipped = np.where(np.isfinite(sizes), np.minimum(sizes, CLIP_USD), np.nan)
    return _Scored(
        sizes=sizes,
        rmse=np.sqrt(groups.means(sizes**2)),
        clipped_rmse=np.sqrt(groups.means(clipped**2)),
        mae=groups.means(sizes),
        means=groups.means(predicted),
    )


def _metrics(groups: _Groups, scored: _Scored, labels: Numbers, index: int) -> Metrics:
    return Metrics(
        rmse=_finite(scored.rmse[index]),
        clipped_rmse=_finite(scored.clipped_rmse[index]),
        mae=_finite(scored.mae[index]),
        count=int(groups.counts[index]),
        mean_label=_finite(labels[index]),
        mean_prediction=_finite(scored.means[index]),
    )


def _differences(groups: _Groups, ours: _Scored, theirs: _Scored | None) -> list[Difference | None]:
    """Return the differences of all groups, None for those with few rows or without the other model."""
    if theirs is None:
        return [None] * len(groups.counts)
    found = {
        "rmse": _root(groups, ours.sizes, theirs.sizes, ours.rmse, theirs.rmse),
        "clipped_rmse": _root(
            groups,
            np.minimum(ours.sizes, CLIP_USD),
            np.minimum(theirs.sizes, CLIP_USD),
            ours.clipped_rmse,
            theirs.clipped_rmse,
        ),
        "mae": _intervals(groups, ours.sizes - theirs.sizes, ours.mae - theirs.mae),
    }
    return [
        Difference(**{name: intervals[index] for name, intervals in found.items()})
        if count >= LEAST_SLICE_ROWS
        else None
        for index, count in enumerate(groups.counts)
    ]


def _root(
    groups: _Groups, ours: Numbers, theirs: Numbers, our_root: Numbers, their_root: Numbers
) -> list[Interval]:
    """Return the intervals of a difference of roots: a root varies as its square does, over twice itself."""
    slopes = [
        np.divide(0.5, root, out=np.zeros_like(root), where=root > 0) for root in (our_root, their_root)
    ]
    weighed = ours**2 * slopes[0][groups.group] - theirs**2 * slopes[1][groups.group]
    return _intervals(groups, weighed, our_root - their_root)


def _intervals(groups: _Groups, values: Numbers, estimates: Numbers) -> list[Interval]:
    """Return the interval of each group's estimate, whose variance is that of the mean of `values`."""
    centered = values - groups.means(values)[groups.group]
    errors = np.sqrt(groups.means(centered**2) / np.maximum(groups.counts - 1, 1))
    return [
        Interval(
            estimate=_finite(estimate),
            low=_finite(estimate - _HALF_WIDTH * error),
            high=_finite(estimate + _HALF_WIDTH * error),
            error=_finite(error),
        )
        for estimate, error in zip(estimates, errors, strict=True)
    ]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
