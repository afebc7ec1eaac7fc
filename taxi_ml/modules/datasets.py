"""The input pipeline: transformed examples from TFRecord files to batches."""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import features  # type: ignore[import-not-found]  # a sibling is a top-level module in the wheel
import numpy as np
import sampling  # type: ignore[import-not-found]  # as above
import tensorflow as tf
from network import FareScale, InputSizes  # type: ignore[import-not-found]  # as above

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import tensorflow_transform as tft
    from numpy.typing import NDArray

SAMPLE_ROWS = 100_000
"""The number of training rows that are kept in memory, shuffled, and read before training."""

LOOK_ROWS = 20_000
"""The number of eval rows in an evaluation, always the same ones: 20 are 1,580 batches of 256."""

_MOST_FILES = 500
"""A process may have 1,024 open files."""

_READ_ROWS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Training rows drawn at random: serialized, and as inputs by name, [rows, n], and fares, USD, [rows, 1].

    `raw` has the columns of `features.RAW_NAMES` as they are, [rows, n], and `total` is the number of rows
    that they were drawn from.
    """

    records: Any
    inputs: dict[str, Any]
    raw: Any
    fares: Any
    total: int

    @property
    def is_everything(self) -> bool:
        """True if these are all training rows."""
        return len(self.records) == self.total

    @property
    def scale(self) -> FareScale:
        """The mean and the deviation of the fares."""
        deviation = float(self.fares.std())
        return FareScale(mean=float(self.fares.mean()), deviation=deviation or 1.0)


def sample(files: Sequence[str], transform: tft.TFTransformOutput, *, seed: int) -> Sample:
    """Draw `SAMPLE_ROWS` training rows, or all if there are fewer; raises ValueError if there are none."""
    return _sample(_drawn(files, SAMPLE_ROWS, seed), transform)


def held_out(files: Sequence[str], transform: tft.TFTransformOutput, *, seed: int) -> Sample:
    """Draw the `LOOK_ROWS` eval rows that `evaluation_batches` has; raises ValueError if there are none."""
    return _sample(_drawn(files, LOOK_ROWS, seed), transform)


def _sample(drawn: sampling.Drawn, transform: tft.TFTransformOutput) -> Sample:
    rows = tf.data.Dataset.from_tensor_slices(drawn.rows).batch(_READ_ROWS)
    spec = transform.transformed_feature_spec()
    batches = [tf.io.parse_example(batch, spec) for batch in rows]
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in spec}
    return Sample(
        records=drawn.rows,
        raw=columns.pop(features.RAW),
        fares=columns.pop(features.LABEL),
        inputs=columns,
        total=drawn.total,
    )


def by_age(sample: Sample, *, newest: float) -> tuple[Sample, Sample]:
    """Part the rows into older ones and this share of the newest, at least one of each."""
    order = np.argsort(sample.inputs[features.NUMBERS][:, features.DAY], kind="stable")
    cut = len(order) - max(1, math.ceil(newest * len(order)))
    return _part(sample, order[:cut]), _part(sample, order[cut:])


def _part(sample: Sample, places: NDArray[np.int64]) -> Sample:
    return Sample(
        records=sample.records[places],
        raw=sample.raw[places],
        inputs={name: values[places] for name, values in sample.inputs.items()},
        fares=sample.fares[places],
        total=len(places),
    )


def shuffled_sample(sample: Sample, *, seed: int) -> tf.data.Dataset:
    """Yield the sample's serialized rows, in another order each time."""
    return tf.data.Dataset.from_tensor_slices(sample.records).shuffle(SAMPLE_ROWS, seed=seed)


def shuffled_files(files: Sequence[str], rows: int, folder: str, *, seed: int) -> tf.data.Dataset:
    """Yield all serialized rows, in another order each time; every order is equally likely.

    The rows are scattered at random over files in `folder`, each of which is then shuffled in memory. A
    shuffle buffer alone would leave rows that are in the order of time roughly in that order.
    """
    count = min(math.ceil(rows / SAMPLE_ROWS) + 1, _MOST_FILES)
    room = 2 * math.ceil(rows / count)  # a file has as many rows as others, give or take their square root
    names = [os.path.join(folder, f"{number:05}") for number in range(count)]  # noqa: PTH118  # a string
    generator = np.random.default_rng(seed)
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(tf.io.TFRecordWriter(name)) for name in names]
        for batch in _read(files):
            for record, number in zip(batch, generator.integers(count, size=len(batch)), strict=True):
                writers[number].write(record)
    seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
    shuffled = tf.data.Dataset.zip(tf.data.Dataset.from_tensor_slices(names).shuffle(count, seed=seed), seeds)
    return shuffled.flat_map(lambda name, order: tf.data.TFRecordDataset(name).shuffle(room, seed=order))


def training_batches(
    shuffled: tf.data.Dataset, transform: tft.TFTransformOutput, *, batch_size: int
) -> tf.data.Dataset:
    """Yield (inputs, fares) endlessly, in full batches, pass after pass over serialized rows."""
    return _parsed(shuffled.repeat().batch(batch_size, drop_remainder=True), transform)


def evaluation_batches(
    files: Sequence[str], transform: tft.TFTransformOutput, *, batch_size: int, seed: int
) -> tf.data.Dataset:
    """Yield (inputs, fares) once, of `LOOK_ROWS` rows at most, which the seed draws; in the files' order.

    Raises ValueError if there are none.
    """
    rows = tf.data.Dataset.from_tensor_slices(_drawn(files, LOOK_ROWS, seed).rows)
    # Every evaluation reads the same rows; parsing them once is enough.
    return _parsed(rows.batch(batch_size), transform).cache()


def input_sizes(transform: tft.TFTransformOutput) -> InputSizes:
    """Read the inputs' widths off the transform's output."""
    spec = transform.transformed_feature_spec()
    widths = {name: spec[name].shape[0] for name in features.TRANSFORMED}
    out_of_vocabulary = 1
    vocabulary = transform.vocabulary_size_by_name(features.VOCABULARY) + out_of_vocabulary
    return InputSizes(vocabulary=vocabulary, **widths)


def _drawn(files: Sequence[str], most: int, seed: int) -> sampling.Drawn:
    drawn = sampling.draw(_read(files), most, seed=seed)
    if not drawn.total:
        raise ValueError(f"no examples in {list(files)}; does the window hold any trips?")
    return drawn


def _read(files: Sequence[str]) -> Iterator[Any]:
    """Read the patterns' GZIP TFRecord files side by side, in an order that does not depend on timing."""
    names = sorted(name for pattern in files for name in tf.io.gfile.glob(pattern))
    records = tf.data.TFRecordDataset(names, compression_type="GZIP", num_parallel_reads=tf.data.AUTOTUNE)
    yield from records.batch(_READ_ROWS).prefetch(1).as_numpy_iterator()


def _parsed(batches: tf.data.Dataset, transform: tft.TFTransformOutput) -> tf.data.Dataset:
    spec = dict(transform.transformed_feature_spec())
    del spec[features.RAW]

    def parse(serialized: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        columns = tf.io.parse_example(serialized, spec)
        return columns, columns.pop(features.LABEL)

    return batches.map(parse, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
