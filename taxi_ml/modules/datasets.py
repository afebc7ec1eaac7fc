"""The input pipeline: transformed examples from TFRecord files to batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import features  # type: ignore[import-not-found]  # a sibling is a top-level module in the wheel
import tensorflow as tf
from network import FareScale, InputSizes  # type: ignore[import-not-found]  # as above

if TYPE_CHECKING:
    from collections.abc import Sequence

    import tensorflow_transform as tft

_SHUFFLE_ROWS = 100_000


def training_batches(
    files: Sequence[str], transform: tft.TFTransformOutput, *, batch_size: int, seed: int
) -> tf.data.Dataset:
    """Yield (inputs, fares) without end, shuffled by `seed`, batches always full."""
    records = _records(files).cache().shuffle(_SHUFFLE_ROWS, seed=seed).repeat()
    return _parsed(records.batch(batch_size, drop_remainder=True), transform)


def evaluation_batches(
    files: Sequence[str], transform: tft.TFTransformOutput, *, batch_size: int
) -> tf.data.Dataset:
    """Yield (inputs, fares) once, in the files' order."""
    return _parsed(_records(files).batch(batch_size), transform).cache()


def fare_scale(files: Sequence[str], transform: tft.TFTransformOutput) -> FareScale:
    """Measure the fares of the first training rows, as many as the shuffle holds."""
    batches = _parsed(_records(files).take(_SHUFFLE_ROWS).batch(4096), transform)
    fares = tf.concat([tf.reshape(fare, [-1]) for _, fare in batches], axis=0)
    if tf.size(fares) == 0:
        raise ValueError(f"no training examples in {list(files)}; does the window hold any trips?")
    deviation = float(tf.math.reduce_std(fares))
    return FareScale(mean=float(tf.reduce_mean(fares)), deviation=deviation or 1.0)


def transformed_columns(files: Sequence[str], transform: tft.TFTransformOutput) -> dict[str, Any]:
    """Return the inputs of the first training rows, as many as the shuffle holds; arrays of [rows, n]."""
    batches = [inputs for inputs, _ in _parsed(_records(files).take(_SHUFFLE_ROWS).batch(4096), transform)]
    return {name: tf.concat([batch[name] for batch in batches], axis=0).numpy() for name in batches[0]}


def input_sizes(transform: tft.TFTransformOutput) -> InputSizes:
    """Read the inputs' widths off the transform's output."""
    spec = transform.transformed_feature_spec()
    widths = {name: spec[name].shape[0] for name in features.TRANSFORMED}
    out_of_vocabulary = 1
    vocabulary = transform.vocabulary_size_by_name(features.VOCABULARY) + out_of_vocabulary
    return InputSizes(vocabulary=vocabulary, **widths)


def _records(files: Sequence[str]) -> tf.data.Dataset:
    """Read the patterns' GZIP TFRecord files side by side, in an order that does not depend on timing."""
    names = sorted(name for pattern in files for name in tf.io.gfile.glob(pattern))
    return tf.data.TFRecordDataset(names, compression_type="GZIP", num_parallel_reads=tf.data.AUTOTUNE)


def _parsed(batches: tf.data.Dataset, transform: tft.TFTransformOutput) -> tf.data.Dataset:
    spec = transform.transformed_feature_spec()

    def parse(serialized: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        columns = tf.io.parse_example(serialized, spec)
        return columns, columns.pop(features.LABEL)

    return batches.map(parse, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
