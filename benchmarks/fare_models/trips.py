"""Exported trips as columns, and as the examples that CsvExampleGen makes of them."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from taxi_ml.modules import features

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

INTEGERS = (*features.CALENDAR, *features.AREAS, features.TIMESTAMP)
FLOATS = (*features.NULLABLE_FLOATS, features.LABEL)
RAW_SPEC = {
    **{name: tf.io.FixedLenFeature([1], tf.int64) for name in INTEGERS},
    **{name: tf.io.FixedLenFeature([1], tf.float32) for name in FLOATS},
}


def read(folder: Path) -> list[dict[str, list[Any]]]:
    """Return a split's trips, each column a list of one value."""
    rows: list[dict[str, list[Any]]] = []
    for path in sorted(folder.glob("trips_*.csv")):
        with path.open() as file:
            rows += [_typed(row) for row in csv.DictReader(file)]
    return rows


def _typed(row: dict[str, str]) -> dict[str, list[Any]]:
    return {name: [int(row[name])] for name in INTEGERS} | {name: [float(row[name])] for name in FLOATS}


def column(rows: list[dict[str, list[Any]]], name: str) -> NDArray[np.float64]:
    """Return one column, float64 of shape [rows]; an unknown float is NaN."""
    values = np.array([row[name][0] for row in rows], np.float64)
    return np.where(values < 0, np.nan, values) if name in features.NULLABLE_FLOATS else values


def serialized(rows: list[dict[str, list[Any]]]) -> list[bytes]:
    """Return the trips as tf.train.Examples."""
    return [_example(row).SerializeToString() for row in rows]


def _example(row: dict[str, list[Any]]) -> tf.train.Example:
    values = {name: tf.train.Feature(int64_list=tf.train.Int64List(value=row[name])) for name in INTEGERS}
    values |= {name: tf.train.Feature(float_list=tf.train.FloatList(value=row[name])) for name in FLOATS}
    return tf.train.Example(features=tf.train.Features(feature=values))
