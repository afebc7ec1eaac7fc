"""The full-pass feature engineering that TensorFlow Transform saves with the model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import features  # type: ignore[import-not-found]  # a sibling is a top-level module in the wheel
import tensorflow as tf
import tensorflow_transform as tft

if TYPE_CHECKING:
    from collections.abc import Callable

RARE_BELOW = 10
"""Categories that training sees less often share one id with those it never sees."""

_STREETS_OF_A_BEELINE = 4 / math.pi
"""The mean of |sin| + |cos| over all directions."""
_NEAR_METRES = 500.0
"""Logarithms of distances are flat below: 0 stands for both ends in one tract, not for no way at all."""

_SECONDS_A_DAY = 86_400
_EPOCH_WEEKDAY = 4
"""1970-01-01 was a Thursday; weekday 0 is a Sunday."""


def preprocessing_fn(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Transform raw columns, dense and of shape [batch, 1] each.

    Returns float32 `numbers`, `distances`, `places`, `absent`, `same_place`, `cycles` and `raw`, int64
    `area_ids` and `calendar_ids`, each [batch, n], and the label in USD, float32 [batch, 1]. There are only
    two analyzers because each adds to Beam's graph.
    """
    columns = {name: tf.reshape(inputs[name], [-1]) for name in features.INPUTS}
    columns[features.DISTANCE], along_streets = _distances(columns)
    weekday = (columns[features.TIMESTAMP] // _SECONDS_A_DAY + _EPOCH_WEEKDAY) % 7
    return {
        **_standardised(columns, along_streets),
        features.ABSENT: _stack(columns, features.NULLABLE_FLOATS, lambda value: value < 0),
        features.SAME_PLACE: _stack(columns, (features.DISTANCE,), lambda value: value == 0),
        features.CYCLES: _cycles(columns, weekday),
        **_ids(columns, weekday),
        features.RAW: _stack(columns, features.RAW_NAMES, lambda value: value),
        features.LABEL: tf.cast(inputs[features.LABEL], tf.float32),
    }


def _distances(columns: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the beeline and the way along the streets, which run east and north: metres, -1 if unknown.

    Each is derived from the other's source if its own is missing: the beeline from the coordinates, and the
    streets from the beeline, by the mean over all directions. Both rise if the given distance does, or if the
    drop-off moves away from the pick-up.
    """
    pickup_x, pickup_y, dropoff_x, dropoff_y = (columns[name] for name in features.COORDINATES)
    located = tf.reduce_all(tf.stack([columns[name] >= 0 for name in features.COORDINATES]), axis=0)
    east, north = tf.abs(dropoff_x - pickup_x), tf.abs(dropoff_y - pickup_y)
    given = columns[features.DISTANCE]
    beeline = tf.where(located & (given < 0), tf.sqrt(east**2 + north**2), given)
    expected = tf.where(beeline < 0, features.MISSING, _STREETS_OF_A_BEELINE * beeline)
    return beeline, tf.where(located, east + north, expected)


def _stack(
    columns: dict[str, tf.Tensor], names: tuple[str, ...], function: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    return tf.stack([tf.cast(function(columns[name]), tf.float32) for name in names], axis=1)


def _standardised(columns: dict[str, tf.Tensor], along_streets: tf.Tensor) -> dict[str, tf.Tensor]:
    """Standardise by the mean and deviation of the known values.

    Missing values are left out of a sparse tensor, so that they neither move the mean nor differ from it.
    """
    history = _stack(columns, features.HISTORY, lambda value: value)
    day = tf.cast(columns[features.TIMESTAMP], tf.float32)[:, tf.newaxis] / _SECONDS_A_DAY
    distances = tf.stack([columns[features.DISTANCE], along_streets], axis=1)
    pickup = _stack(columns, features.COORDINATES[:2], lambda value: value)
    plain = tf.concat([history, history, day, distances, distances, pickup], axis=1)
    values = tf.concat(
        [history, _log(history), day, distances, _log(distances / _NEAR_METRES), pickup], axis=1
    )
    places = tf.where(plain >= 0)
    sparse = tf.SparseTensor(places, tf.gather_nd(values, places), tf.shape(values, out_type=tf.int64))
    scaled = tf.sparse.to_dense(tft.scale_to_z_score(sparse, elementwise=True))
    widths = [2 * history.shape[1] + 1, 2 * distances.shape[1], pickup.shape[1]]
    names = (features.NUMBERS, features.DISTANCES, features.PLACES)
    split = tf.split(tf.ensure_shape(scaled, [None, values.shape[1]]), widths, axis=1)
    return dict(zip(names, split, strict=True))


def _log(values: tf.Tensor) -> tf.Tensor:
    return tf.math.log1p(tf.maximum(values, 0.0))


def _cycles(columns: dict[str, tf.Tensor], weekday: tf.Tensor) -> tf.Tensor:
    hour = (
        tf.cast(columns["TripStartHour"], tf.float32) + tf.cast(columns["TripStartMinute"], tf.float32) / 60
    )
    turns = [
        hour / 24,
        hour / 12,
        (tf.cast(weekday, tf.float32) + hour / 24) / 7,
        tf.cast(columns["TripStartMonth"], tf.float32) / 12,
    ]
    angles = 2 * math.pi * tf.stack(turns, axis=1)
    return tf.concat([tf.sin(angles), tf.cos(angles)], axis=1)


def _ids(columns: dict[str, tf.Tensor], weekday: tf.Tensor) -> dict[str, tf.Tensor]:
    """Look all categories up in one vocabulary of words such as `TripStartHour=8`: one analyzer for all."""
    parts = {**{name: columns[name] for name in features.CATEGORIES}, "weekday": weekday}
    words = [tf.strings.join([name, tf.strings.as_string(part)], "=") for name, part in parts.items()]
    ids = tft.compute_and_apply_vocabulary(
        tf.stack(words, axis=1),
        frequency_threshold=RARE_BELOW,
        num_oov_buckets=1,
        vocab_filename=features.VOCABULARY,
    )
    areas = len(features.AREAS)
    return {features.AREA_IDS: ids[:, :areas], features.CALENDAR_IDS: ids[:, areas:]}
