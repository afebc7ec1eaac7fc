"""The boosted trees that every report compares with, trained on the run's own rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from taxi_ml.evaluation import rows
from taxi_ml.modules import features

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

NAME: Final = "boosted trees"
MOST_ROWS: Final = 200_000
"""Rows drawn at random from the training split, which bound memory and time."""

_INTEGERS: Final = (*features.AREAS, "TripStartMonth", "TripStartHour", "TripStartMinute", features.TIMESTAMP)
_TYPES: Final = dict.fromkeys(_INTEGERS, int) | dict.fromkeys(features.NULLABLE_FLOATS, float)
_COORDINATES: Final = ("pickup_x", "pickup_y", "dropoff_x", "dropoff_y")
_SECONDS_A_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class BoostedTrees:
    """Gradient-boosted trees of scikit-learn that minimize the absolute error.

    Nobody tunes them for a window, so that the ratio of a model's error to theirs says how good the model is
    whatever the month, and can be compared between months.
    """

    trees: HistGradientBoostingRegressor

    @classmethod
    def trained(cls, examples: NDArray[Any], *, seed: int) -> Self:
        """Return trees that have learned the fares of serialized raw examples, of shape [rows].

        The same examples and seed give the same trees on any machine. They are not stopped early: that would
        take rows away and make the result depend on which ones.
        """
        fares = rows.columns(examples, {features.LABEL: float})[features.LABEL]
        trees = HistGradientBoostingRegressor(
            loss="absolute_error",
            learning_rate=0.05,
            max_iter=300,
            max_leaf_nodes=15,
            min_samples_leaf=30,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=seed,
        )
        with one_thread():
            return cls(trees.fit(_inputs(examples), fares))

    def predict(self, examples: NDArray[Any]) -> NDArray[np.float64]:
        """Return the fares in USD, float64 of shape [rows]."""
        with one_thread():
            fares: NDArray[np.float64] = self.trees.predict(_inputs(examples))
        return fares


def one_thread() -> AbstractContextManager[Any]:
    """Keep OpenMP to one thread.

    Its threads wait for each other, spinning, several times for each node of a tree. On a machine whose cores
    are taken that is slower by a hundred times, and there is little to gain: most nodes have few rows.
    """
    return threadpool_limits(limits=1, user_api="openmp")  # type: ignore[no-any-return]  # it has no types


def _inputs(examples: NDArray[Any]) -> NDArray[np.float64]:
    """Return the inputs, float64 of shape [rows, inputs]; NaN is unknown, for which trees have a branch.

    Areas are numbers too: those of neighbors are close, and HistGradientBoostingRegressor takes at most 255
    categories, of which a city has more.
    """
    columns = rows.columns(examples, _TYPES)
    known = {name: np.where(columns[name] < 0, np.nan, columns[name]) for name in features.NULLABLE_FLOATS}
    day = columns[features.TIMESTAMP] / _SECONDS_A_DAY
    derived = [
        *(columns[name] for name in (*features.AREAS, "TripStartMonth")),
        columns["TripStartHour"] + columns["TripStartMinute"] / 60,
        day,
        np.floor(day) % 7,
    ]
    return np.stack([*known.values(), *derived, *_displacement(known)], axis=1).astype(np.float64)


def _displacement(known: Mapping[str, NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Return metres east, metres north, and both together, which is the way along a grid of streets."""
    if not known.keys() >= set(_COORDINATES):
        return []
    pickup_x, pickup_y, dropoff_x, dropoff_y = (known[name] for name in _COORDINATES)
    east, north = dropoff_x - pickup_x, dropoff_y - pickup_y
    return [east, north, np.abs(east) + np.abs(north)]
