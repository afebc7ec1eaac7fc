"""The models that the product has to beat: boosted trees, a straight line and the mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from benchmarks.fare_models.trips import column
from taxi_ml.modules import features

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rows = list[dict[str, list[Any]]]
SEED = 20


def boosted_trees(known: Rows, asked: Rows) -> NDArray[np.float64]:
    """Train on the squared error of train and eval rows; unknown values are NaN, which the trees split on.

    The best of six settings on the test months from August 2014 to January 2015.
    """
    trees = HistGradientBoostingRegressor(
        learning_rate=0.05,
        max_iter=500,
        max_leaf_nodes=15,
        min_samples_leaf=30,
        l2_regularization=1.0,
        early_stopping=True,
        random_state=SEED,
    )
    trees.fit(_inputs(known), column(known, features.LABEL))
    predicted: NDArray[np.float64] = trees.predict(_inputs(asked))
    return predicted


def line(known: Rows, asked: Rows) -> NDArray[np.float64]:
    """Fit fare = a + b rawDistance by least squares; an unknown distance becomes the mean."""
    distance, fare = column(known, "rawDistance"), column(known, features.LABEL)
    mean = float(np.nanmean(distance))
    slope, intercept = np.polyfit(np.nan_to_num(distance, nan=mean), fare, 1)
    predicted: NDArray[np.float64] = intercept + slope * np.nan_to_num(column(asked, "rawDistance"), nan=mean)
    return predicted


def mean_fare(known: Rows, asked: Rows) -> NDArray[np.float64]:
    """Predict the mean fare."""
    return np.full(len(asked), column(known, features.LABEL).mean())


def _inputs(rows: Rows) -> NDArray[np.float64]:
    return np.stack([column(rows, name) for name in features.INPUTS], axis=1)
