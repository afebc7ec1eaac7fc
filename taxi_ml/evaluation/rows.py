"""Examples on disk: their rows, their number and a digest of their content."""

from __future__ import annotations

import hashlib
import posixpath
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf
from tensorflow_metadata.proto.v0 import statistics_pb2

from taxi_ml.modules import sampling

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

STATISTICS_FILE: Final = "FeatureStats.pb"
_READ_ROWS: Final = 4096
_CHUNK_BYTES: Final = 1 << 24


def count(statistics: str) -> int:
    """Return the number of examples in a split; `statistics` is the folder of its FeatureStats.pb."""
    with tf.io.gfile.GFile(posixpath.join(statistics, STATISTICS_FILE), "rb") as file:
        found = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read())
    return sum(dataset.num_examples for dataset in found.datasets)


def data_digest(fingerprint: str | None, splits: Mapping[str, str]) -> str:
    """Return a SHA-256, in hexadecimal, of the rows that the examples were made from.

    The fingerprint is the ExampleGen driver's, over the rows of all splits in any order. If an
    orchestrator did not keep it, the bytes of the splits' files are hashed instead.
    """
    digest = hashlib.sha256()
    for part in [fingerprint.encode()] if fingerprint else _bytes_of(splits):
        digest.update(part)
    return digest.hexdigest()


def _bytes_of(splits: Mapping[str, str]) -> Iterator[bytes]:
    for split, folder in sorted(splits.items()):
        yield split.encode()
        for name in _names(folder):
            with tf.io.gfile.GFile(name, "rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk


def batches(folder: str, size: int) -> Iterator[NDArray[Any]]:
    """Yield serialized examples, arrays of bytes of shape [up to size]."""
    records = tf.data.TFRecordDataset(_names(folder), compression_type="GZIP")
    yield from records.batch(size).as_numpy_iterator()


def sample(folder: str, most: int, *, seed: int) -> NDArray[Any]:
    """Draw serialized examples of a split at random, `most` of them, or all if there are fewer."""
    return sampling.draw(batches(folder, _READ_ROWS), most, seed=seed).rows


def columns(examples: NDArray[Any], types: Mapping[str, type]) -> dict[str, NDArray[Any]]:
    """Parse the named raw columns, one value a row: int64 for int, float64 for float.

    Raises:
        tf.errors.InvalidArgumentError: for an example without the column.

    """
    dtypes = {int: tf.int64, float: tf.float32}
    spec = {name: tf.io.FixedLenFeature([], dtypes[kind]) for name, kind in types.items()}
    parsed = tf.io.parse_example(examples, spec)
    return {
        name: parsed[name].numpy().astype(np.int64 if kind is int else np.float64)
        for name, kind in types.items()
    }


def _names(folder: str) -> list[str]:
    return sorted(tf.io.gfile.glob(f"{folder}/*"))
