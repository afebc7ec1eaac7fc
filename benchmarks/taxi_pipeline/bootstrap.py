"""The classic bootstrap over single rows, and errors of two models to compare intervals on."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

from taxi_ml.evaluation.scores import REPLICATES, Predictions

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_COLUMNS = ("trip_miles", "trip_seconds", "fare")


def classic(
    predictions: Predictions, *, seed: int, replicates: int = REPLICATES
) -> dict[str, tuple[float, float]]:
    """Return the 95 % intervals of the differences in RMSE and MAE, of draws of single rows."""
    champion = predictions.champion
    if champion is None:
        raise ValueError("the bootstrap compares two models; give predictions that include a champion's")
    errors = np.stack([predictions.challenger, champion], axis=1) - predictions.fares[:, np.newaxis]
    columns = np.concatenate([errors**2, np.abs(errors)], axis=1)
    generator = np.random.default_rng(seed)
    means = np.array([_drawn(columns, generator) for _ in range(replicates)])
    roots = np.sqrt(means[:, :2])
    differences = {"rmse": roots[:, 0] - roots[:, 1], "mae": means[:, 2] - means[:, 3]}
    return {metric: tuple(np.percentile(draws, (2.5, 97.5))) for metric, draws in differences.items()}


def _drawn(columns: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    rows = len(columns)
    weights = np.bincount(generator.integers(rows, size=rows, dtype=np.int32), minlength=rows)
    means: NDArray[np.float64] = weights.astype(np.float64) @ columns / rows
    return means


def on_real_trips(source: Path, rows: int) -> Predictions:
    """Draw trips of the CSV that TFX ships; lines on their miles, and on their seconds too, predict them."""
    with source.open() as file:
        trips = np.array([[float(row[name] or 0) for name in _COLUMNS] for row in csv.DictReader(file)])
    known = np.concatenate([np.ones((len(trips), 1)), trips[:, :2]], axis=1)
    drawn = np.random.default_rng(3).integers(len(trips), size=rows)
    champion, challenger = (_line(known[:, :width], trips[:, 2])[drawn] for width in (2, 3))
    return Predictions(fares=trips[drawn, 2], challenger=challenger, champion=champion)


def _line(known: NDArray[np.float64], fares: NDArray[np.float64]) -> NDArray[np.float64]:
    predicted: NDArray[np.float64] = known @ np.linalg.lstsq(known, fares, rcond=None)[0]
    return predicted


def with_heavy_tails(rows: int, *, seed: int) -> Predictions:
    """Make errors whose squares have no variance, so that single rows decide how far an RMSE varies.

    Both models' errors have one distribution, so that their true difference is 0.
    """
    shared, challenger, champion = np.random.default_rng(seed).standard_t(3, size=(3, rows))
    return Predictions(
        fares=np.zeros(rows), challenger=shared + 0.3 * challenger, champion=shared + 0.3 * champion
    )
