"""Errors of predicted fares as numbers: metrics, and the paired bootstrap of a difference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from taxi_ml.gate.distributions import FareBand, Fit
from taxi_ml.gate.metrics import Difference, Interval, Metrics, Reference
from taxi_ml.gate.refits import Refit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from taxi_ml.gate.metrics import Role

REPLICATES: Final = 2000
CLIP_USD: Final = 25.0
"""The largest error that counts in the clipped RMSE; about 1 % of the real trips have a larger one."""
MOST_GROUPS: Final = 2000
"""Above this many rows, the bootstrap draws random groups of rows instead of single ones.

The variance of a mean over groups has a relative error of sqrt(2 / groups) to that over single rows, which
moves an end of the interval by 0.8 % of its width, half as much as another seed does.
"""
_UPPER: Final = 1.959964
"""Standard errors from the middle of a 95 % interval to its end."""

BANDS_USD: Final = (0.0, 5.0, 7.5, 10.0, 15.0, 25.0, 40.0)
"""The lower ends of the bands of true fares."""
RESIDUAL_EDGES_USD: Final = tuple(float(edge) for edge in np.arange(-10, 10.5, 0.5))

ALIKE_USD: Final = 1e-6
"""Models that differ by less in every row are the same one."""

Numbers: TypeAlias = "NDArray[np.float64]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """True fares and the models' fares for the same rows, USD, each of shape [rows].

    `champion` is None if no model serves yet, `baseline` if none was trained.
    """

    fares: Numbers
    challenger: Numbers
    champion: Numbers | None
    baseline: Numbers | None = None

    def of(self, rows: NDArray[np.bool_]) -> Predictions:
        """Return those rows only."""
        return Predictions(
            fares=self.fares[rows],
            challenger=self.challenger[rows],
            champion=None if self.champion is None else self.champion[rows],
            baseline=None if self.baseline is None else self.baseline[rows],
        )


def metrics(fares: Numbers, predicted: Numbers) -> Metrics:
    """Return the errors and means in USD, and the count; a value that is not finite becomes None."""
    errors = predicted - fares
    clipped = np.minimum(np.abs(errors), CLIP_USD)
    return Metrics(
        rmse=_finite(_rmse(errors)),
        clipped_rmse=_finite(_rmse(clipped if np.isfinite(errors).all() else errors)),
        mae=_finite(_mean(np.abs(errors))),
        count=len(fares),
        mean_label=_finite(_mean(fares)),
        mean_prediction=_finite(_mean(predicted)),
    )


def difference(predictions: Predictions, *, seed: int) -> Difference | None:
    """Return challenger minus champion with 95 % intervals; None without a champion."""
    if predictions.champion is None:
        return None
    return paired(predictions.fares, predictions.challenger, predictions.champion, seed=seed)


def paired(fares: Numbers, ours: Numbers, theirs: Numbers, *, seed: int) -> Difference | None:
    """Return one model's errors minus another's, with 95 % intervals and standard errors; None without rows.

    The standard error is that of the bootstrap over rows, or over random groups of rows if there are more
    than `MOST_GROUPS`, so that neither time nor memory grows with the rows. Both models are scored on the
    same draw, so that rows that are hard for both cancel out. The interval is normal (Efron and Tibshirani
    1993, section 12.5). The draws' own percentiles lean to the side to which the sample's few large errors
    pull the estimate, and so miss the true difference more often.
    """
    if not len(fares):
        return None
    sizes = np.abs(np.stack([ours, theirs], axis=1) - fares[:, np.newaxis])
    columns = np.concatenate([sizes**2, np.minimum(sizes, CLIP_USD) ** 2, sizes], axis=1)
    means, draws = columns.mean(axis=0), _resampled(columns, seed)
    means[:4], draws[:, :4] = np.sqrt(means[:4]), np.sqrt(draws[:, :4])
    rmse, clipped_rmse, mae = (
        _interval(float(means[first] - means[first + 1]), draws[:, first] - draws[:, first + 1])
        for first in (0, 2, 4)
    )
    return Difference(rmse=rmse, clipped_rmse=clipped_rmse, mae=mae)


def reference(  # noqa: PLR0913  # a model, and the rows that it answered
    role: Role, predictions: Predictions, answers: Numbers, *, name: str, uri: str, seed: int
) -> Reference:
    """Return a reference that gave these `answers`, in USD, to the rows of `predictions`."""
    return Reference(
        role=role,
        name=name,
        uri=uri,
        metrics=metrics(predictions.fares, answers),
        difference=paired(predictions.fares, predictions.challenger, answers, seed=seed),
    )


def refit(predictions: Predictions, answers: Numbers, *, uri: str) -> Refit:
    """Return how far the `answers` of the challenger's refit, in USD, are from the challenger's own."""
    moved = answers - predictions.challenger
    return Refit(uri=uri, mean_absolute=_finite(_mean(np.abs(moved))), mean_signed=_finite(_mean(moved)))


def is_unchanged(predictions: Predictions) -> bool:
    """Return True if challenger and champion answer every row alike, to 1e-6 USD."""
    if predictions.champion is None:
        return False
    # A difference that is not a number is not below the bound.
    return bool((np.abs(predictions.challenger - predictions.champion) <= ALIKE_USD).all())


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


def _resampled(columns: Numbers, seed: int) -> Numbers:
    """Return means of `columns`, [replicates, columns], over rows or groups drawn with replacement."""
    rows = len(columns)
    if rows <= MOST_GROUPS:
        return _weights_once(rows, seed) @ columns / rows
    # A permutation makes groups of nearly the same size; independent draws would add variance of their own.
    group = np.random.default_rng((seed, rows)).permutation(rows) % MOST_GROUPS
    sums = np.stack([np.bincount(group, column) for column in columns.T], axis=1)
    weights = _weights_once(MOST_GROUPS, seed)
    return weights @ sums / (weights @ np.bincount(group))[:, np.newaxis]


@lru_cache(maxsize=1)
def _weights_once(count: int, seed: int) -> Numbers:
    """Draw once for all comparisons, because drawing takes longer than everything else."""
    return _weights(count, seed)


def _weights(count: int, seed: int) -> Numbers:
    """Return the number of times that each of `count` is drawn, [replicates, count]."""
    # Counts instead of indices: a weighted sum is one matrix product over all replicates.
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=REPLICATES)
    return drawn.astype(np.float64)


def _interval(estimate: float, draws: Numbers) -> Interval:
    error = float(draws.std())
    return Interval(
        estimate=_finite(estimate),
        low=_finite(estimate - _UPPER * error),
        high=_finite(estimate + _UPPER * error),
        error=_finite(error),
    )


def _rmse(errors: Numbers) -> float:
    return math.sqrt(_mean(errors**2)) if len(errors) else math.nan


def _mean(values: Numbers) -> float:
    return float(values.mean()) if len(values) else math.nan


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
