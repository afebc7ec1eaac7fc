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

_SECONDS_A_DAY = 86_400
_EPOCH_WEEKDAY = 4
"""1970-01-01 was a Thursday; weekday 0 is a Sunday."""


def preprocessing_fn(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Transform raw columns, dense and of shape [batch, 1] each.

    Returns float32 `numbers`, `absent` and `cycles`, int64 `area_ids` and `calendar_ids`, each [batch, n],
    and the label in USD, float32 [batch, 1]. There are only two analyzers because each adds to Beam's graph.
    """
    columns = {name: tf.reshape(inputs[name], [-1]) for name in features.INPUTS}
    weekday = (columns[features.TIMESTAMP] // _SECONDS_A_DAY + _EPOCH_WEEKDAY) % 7
    return {
        features.NUMBERS: _numbers(columns),
        features.ABSENT: _stack(columns, features.NULLABLE_FLOATS, lambda value: value < 0),
        features.CYCLES: _cycles(columns, weekday),
        **_ids(columns, weekday),
        features.LABEL: tf.cast(inputs[features.LABEL], tf.float32),
    }


def _stack(
    columns: dict[str, tf.Tensor], names: tuple[str, ...], function: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    return tf.stack([tf.cast(function(columns[name]), tf.float32) for name in names], axis=1)


def _numbers(columns: dict[str, tf.Tensor]) -> tf.Tensor:
    """Standardise by the mean and deviation of the known values.

    Missing values are left out of a sparse tensor, so that they neither move the mean nor differ from it.
    """
    plain = _stack(columns, features.NULLABLE_FLOATS, lambda value: value)
    day = tf.cast(columns[features.TIMESTAMP], tf.float32)[:, tf.newaxis] / _SECONDS_A_DAY
    values = tf.concat([plain, tf.math.log1p(tf.maximum(plain, 0.0)), day], axis=1)
    present = tf.concat([plain >= 0, plain >= 0, tf.ones_like(day, tf.bool)], axis=1)
    places = tf.where(present)
    sparse = tf.SparseTensor(places, tf.gather_nd(values, places), tf.shape(values, out_type=tf.int64))
    scaled = tf.sparse.to_dense(tft.scale_to_z_score(sparse, elementwise=True))
    return tf.ensure_shape(scaled, [None, values.shape[1]])


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
