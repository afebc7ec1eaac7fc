"""The input pipeline: transformed examples from TFRecord files to batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import features  # type: ignore[import-not-found]  # a sibling is a top-level module in the wheel
import numpy as np
import tensorflow as tf
from network import FareScale, InputSizes  # type: ignore[import-not-found]  # as above

if TYPE_CHECKING:
    from collections.abc import Sequence

    import tensorflow_transform as tft

SAMPLE_ROWS = 100_000
"""How many rows are shuffled among each other, and how many are looked at before training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The first training rows: inputs by name, arrays of [rows, n], and fares in USD, [rows, 1]."""

    inputs: dict[str, Any]
    fares: Any

    @property
    def rows(self) -> int:
        """How many rows there are; below `SAMPLE_ROWS`, these are all."""
        return len(self.fares)

    @property
    def is_everything(self) -> bool:
        """Whether these are all training rows."""
        return self.rows < SAMPLE_ROWS

    @property
    def scale(self) -> FareScale:
        """The mean and the deviation of the fares."""
        deviation = float(self.fares.std())
        return FareScale(mean=float(self.fares.mean()), deviation=deviation or 1.0)


def sample(files: Sequence[str], transform: tft.TFTransformOutput) -> Sample:
    """Read the first training rows, `SAMPLE_ROWS` at most.

    Raises:
        ValueError: where there are none.

    """
    batches = list(_parsed(_records(files).take(SAMPLE_ROWS).batch(4096), transform).as_numpy_iterator())
    if not batches:
        raise ValueError(f"no training examples in {list(files)}; does the window hold any trips?")
    names = batches[0][0]
    return Sample(
        inputs={name: np.concatenate([inputs[name] for inputs, _ in batches]) for name in names},
        fares=np.concatenate([fares for _, fares in batches]),
    )


def training_batches(
    files: Sequence[str], transform: tft.TFTransformOutput, *, batch_size: int, seed: int, in_memory: bool
) -> tf.data.Dataset:
    """Yield (inputs, fares) without end, shuffled by `seed`, batches always full.

    With `in_memory` the files are read once, which only some of them allow.
    """
    records = _records(files).cache() if in_memory else _records(files)
    shuffled = records.shuffle(SAMPLE_ROWS, seed=seed).repeat()
    return _parsed(shuffled.batch(batch_size, drop_remainder=True), transform)


def evaluation_batches(
    files: Sequence[str], transform: tft.TFTransformOutput, *, batch_size: int
) -> tf.data.Dataset:
    """Yield (inputs, fares) once, in the files' order."""
    return _parsed(_records(files).batch(batch_size), transform).cache()


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
