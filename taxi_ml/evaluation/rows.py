"""Examples on disk: their rows, their number and a digest of their content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitContent:
    """How many examples a split has, and the sum of their SHA-256 digests: order does not matter."""

    count: int
    digest_sum: int


def split_content(folder: str) -> SplitContent:
    """Read a split's TFRecord files once; `folder` is the split's."""
    count = total = 0
    for record in _records(folder).as_numpy_iterator():
        count += 1
        total += int.from_bytes(hashlib.sha256(_canonical(record)).digest(), "big")
    return SplitContent(count=count, digest_sum=total % 2 ** (8 * _DIGEST_BYTES))


def data_digest(splits: Mapping[str, SplitContent]) -> str:
    """Return one SHA-256, in hexadecimal, over the contents of all splits by name."""
    digest = hashlib.sha256()
    for name in sorted(splits):
        digest.update(name.encode() + b"\0" + splits[name].digest_sum.to_bytes(_DIGEST_BYTES, "big"))
    return digest.hexdigest()


def batches(folder: str, size: int) -> Iterator[NDArray[Any]]:
    """Yield serialized examples, arrays of bytes of shape [up to size]."""
    yield from _records(folder).batch(size).as_numpy_iterator()


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


def _canonical(record: bytes) -> bytes:
    """Write an example anew: Beam writes an example's features in any order."""
    canonical: bytes = tf.train.Example.FromString(record).SerializeToString(deterministic=True)
    return canonical


def _records(folder: str) -> tf.data.Dataset:
    names = sorted(tf.io.gfile.glob(f"{folder}/*"))
    return tf.data.TFRecordDataset(names, compression_type="GZIP")
