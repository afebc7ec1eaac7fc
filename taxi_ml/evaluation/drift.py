"""Distances between a run's trips and the rows that a model learned from, in the model's own inputs."""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf

from taxi_ml.evaluation import rows
from taxi_ml.evaluation.distances import jensen_shannon, l_infinity
from taxi_ml.evaluation.saved_models import saved_model_folder
from taxi_ml.gate.distributions import Distance, Drift
from taxi_ml.modules import profiles
from taxi_ml.splits import Split

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

SIGNATURE: Final = "transform_features"
MOST_ROWS: Final = 100_000
"""Rows drawn at random from each split; more would barely change a share."""

_BATCH_ROWS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A model's profile of its training rows, read from beside the model."""

    profile: dict[str, dict[str, float]]
    layout: dict[str, list[Any]]
    vocabulary: list[str]


def distances(model: str, splits: Mapping[str, str], *, seed: int) -> tuple[Drift, ...]:
    """Return the distances of each split of a run from the training rows of a model.

    The champion's show drift, the challenger's own skew. Empty if the model has no profile of its training
    rows, as earlier models do not.

    Raises:
        FileNotFoundError: if the model's artifact has no SavedModel.

    """
    folder = saved_model_folder(model)
    path = posixpath.join(folder, profiles.FILE)
    if not tf.io.gfile.exists(path):
        return ()
    with tf.io.gfile.GFile(path) as file:
        content = json.loads(file.read())
    learned = Learned(**{name: content[name] for name in ("profile", "layout", "vocabulary")})
    # The model's own transform: only its vocabulary and its scale make its profile comparable.
    transform = tf.saved_model.load(folder).signatures[SIGNATURE]
    return tuple(
        drift
        for split, examples in splits.items()
        for drift in _drifts(split, learned, _columns(transform, rows.sample(examples, MOST_ROWS, seed=seed)))
    )


def _drifts(split: str, learned: Learned, columns: dict[str, Any]) -> Iterator[Drift]:
    found = profiles.profile(columns, learned.layout, learned.vocabulary)
    for feature, shares in found.items():
        expected = learned.profile[feature]
        is_number = len(learned.layout[feature]) > 2  # noqa: PLR2004  # column, index, and its flag or its edges
        yield Drift(
            split=Split(split),
            feature=feature,
            measure=Distance.JENSEN_SHANNON if is_number else Distance.L_INFINITY,
            distance=jensen_shannon(expected, shares) if is_number else l_infinity(expected, shares),
            new_share=shares.get(profiles.NEW, 0.0) - expected.get(profiles.NEW, 0.0),
        )


def _columns(transform: Any, examples: NDArray[Any]) -> dict[str, Any]:  # noqa: ANN401  # a TensorFlow signature
    starts = range(0, len(examples), _BATCH_ROWS)
    batches = [transform(examples=tf.constant(examples[start : start + _BATCH_ROWS])) for start in starts]
    return {name: np.concatenate([batch[name].numpy() for batch in batches]) for name in batches[0]}
