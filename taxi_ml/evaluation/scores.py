"""Errors of predicted fares as numbers: metrics, slices, and the paired bootstrap of a difference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from taxi_ml.gate.distributions import FareBand, Fit
from taxi_ml.gate.report import Difference, Interval, Metrics, Slice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

REPLICATES: Final = 2000
MIN_ROWS_OF_AN_INTERVAL: Final = 30
"""Fewer rows say too little about their variance for a bootstrap."""
MOST_GROUPS: Final = 2000
"""Above this many rows, the bootstrap draws random groups of rows instead of single ones.

The variance of a mean over groups has a relative error of sqrt(2 / groups) to that over single rows, which
moves an end of the interval by 0.8 % of its width, half as much as another seed does.
"""
_PERCENTILES: Final = (2.5, 97.5)

BANDS_USD: Final = (0.0, 5.0, 7.5, 10.0, 15.0, 25.0, 40.0)
"""The lower ends of the bands of true fares."""
RESIDUAL_EDGES_USD: Final = tuple(float(edge) for edge in np.arange(-10, 10.5, 0.5))

Numbers: TypeAlias = "NDArray[np.float64]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """True fares and two models' fares for the same rows, USD, each of shape [rows].

    `champion` is None if no model serves yet.
    """

    fares: Numbers
    challenger: Numbers
    champion: Numbers | None

    def of(self, rows: NDArray[np.bool_]) -> Predictions:
        """Return those rows only."""
        return Predictions(
            fares=self.fares[rows],
            challenger=self.challenger[rows],
            champion=None if self.champion is None else self.champion[rows],
        )


def metrics(fares: Numbers, predicted: Numbers) -> Metrics:
    """Return RMSE, MAE and means in USD, and the count; a value that is not finite becomes None."""
    errors = predicted - fares
    return Metrics(
        rmse=_finite(_rmse(errors)),
        mae=_finite(_mean(np.abs(errors))),
        count=len(fares),
        mean_label=_finite(_mean(fares)),
        mean_prediction=_finite(_mean(predicted)),
    )


def difference(predictions: Predictions, *, seed: int) -> Difference | None:
    """Return challenger minus champion for RMSE and MAE with a 95 % interval; None without a champion.

    The interval is the percentile bootstrap over rows (Efron and Tibshirani 1993, chapter 13), or over
    random groups of rows if there are more than `MOST_GROUPS`, so that neither time nor memory grows with
    the rows. Both models are scored on the same draw, so that rows that are hard for both cancel out.
    """
    if predictions.champion is None or not len(predictions.fares):
        return None
    errors = np.stack(
        [predictions.challenger - predictions.fares, predictions.champion - predictions.fares], axis=1
    )
    squares, sizes = errors**2, np.abs(errors)
    draws = _resampled(np.concatenate([squares, sizes], axis=1), seed)
    root = np.sqrt(draws[:, :2])
    return Difference(
        rmse=_interval(_rmse(errors[:, 0]) - _rmse(errors[:, 1]), root[:, 0] - root[:, 1]),
        mae=_interval(float(sizes[:, 0].mean() - sizes[:, 1].mean()), draws[:, 2] - draws[:, 3]),
    )


def slices(predictions: Predictions, columns: Mapping[str, NDArray[Any]], *, seed: int) -> tuple[Slice, ...]:
    """Return the metrics of every value of every column, in the columns' order and by value."""
    return tuple(
        _slice(predictions, feature, value, column == value, seed=seed)
        for feature, column in columns.items()
        for value in np.unique(column)
    )


def fit(predictions: Predictions) -> Fit:
    """Return the mean fares by band of the true fare, and the residuals of both models in bins."""
    champion = predictions.champion
    return Fit(
        bands=tuple(
            band
            for low, high in zip(BANDS_USD, (*BANDS_USD[1:], None), strict=True)
            if (band := _band(predictions, low, high)) is not None
        ),
        edges=RESIDUAL_EDGES_USD,
        residuals=_residuals(predictions.challenger - predictions.fares),
        champion_residuals=None if champion is None else _residuals(champion - predictions.fares),
    )


def _band(predictions: Predictions, low: float, high: float | None) -> FareBand | None:
    part = predictions.of((predictions.fares >= low) & (predictions.fares < (high or math.inf)))
    if not len(part.fares):
        return None
    return FareBand(
        low=low,
        high=high,
        count=len(part.fares),
        paid=_mean(part.fares),
        challenger=_finite(_mean(part.challenger)),
        champion=None if part.champion is None else _finite(_mean(part.champion)),
    )


def _residuals(errors: Numbers) -> tuple[float, ...]:
    inside = np.clip(errors, RESIDUAL_EDGES_USD[0], RESIDUAL_EDGES_USD[-1])
    return tuple(map(float, np.histogram(inside, RESIDUAL_EDGES_USD)[0]))


def _slice(
    predictions: Predictions, feature: str, value: object, rows: NDArray[np.bool_], *, seed: int
) -> Slice:
    part = predictions.of(rows)
    count = len(part.fares)
    return Slice(
        feature=feature,
        value=str(value),
        count=count,
        challenger=metrics(part.fares, part.challenger),
        champion=None if part.champion is None else metrics(part.fares, part.champion),
        difference=difference(part, seed=seed) if count >= MIN_ROWS_OF_AN_INTERVAL else None,
    )


def _resampled(columns: Numbers, seed: int) -> Numbers:
    """Return means of `columns`, [replicates, columns], over rows or groups drawn with replacement."""
    rows = len(columns)
    if rows <= MOST_GROUPS:
        return _weights(rows, seed) @ columns / rows
    # A permutation makes groups of nearly the same size; independent draws would add variance of their own.
    group = np.random.default_rng((seed, rows)).permutation(rows) % MOST_GROUPS
    sums = np.stack([np.bincount(group, column) for column in columns.T], axis=1)
    weights = _weights_of_groups(seed)
    return weights @ sums / (weights @ np.bincount(group))[:, np.newaxis]


@lru_cache(maxsize=1)
def _weights_of_groups(seed: int) -> Numbers:
    """Draw once for all slices, because drawing takes longer than everything else."""
    return _weights(MOST_GROUPS, seed)


def _weights(count: int, seed: int) -> Numbers:
    """Return the number of times that each of `count` is drawn, [replicates, count]."""
    # Counts instead of indices: a weighted sum is one matrix product over all replicates.
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=REPLICATES)
    return drawn.astype(np.float64)


def _interval(estimate: float, draws: Numbers) -> Interval:
    low, high = np.percentile(draws, _PERCENTILES)
    return Interval(estimate=_finite(estimate), low=_finite(float(low)), high=_finite(float(high)))


def _rmse(errors: Numbers) -> float:
    return math.sqrt(_mean(errors**2)) if len(errors) else math.nan


def _mean(values: Numbers) -> float:
    return float(values.mean()) if len(values) else math.nan


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
