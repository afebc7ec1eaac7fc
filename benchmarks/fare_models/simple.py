"""The models that the product has to beat: boosted trees, a straight line and the mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.fare_models.trips import column, serialized
from taxi_ml.evaluation.baseline import BoostedTrees
from taxi_ml.modules import features

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rows = list[dict[str, list[Any]]]
SEED = 20


def boosted_trees(known: Rows, asked: Rows) -> NDArray[np.float64]:
    """Train the baseline of every run's report, on the train rows as it does."""
    trees = BoostedTrees.trained(_examples(known), seed=SEED)
    return trees.predict(_examples(asked))


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


def _examples(rows: Rows) -> NDArray[Any]:
    return np.array(serialized(rows), object)
