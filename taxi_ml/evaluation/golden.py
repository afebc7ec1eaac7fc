"""The golden rows of a model: test trips as callers would send them, with the fares that it gives them."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf

from taxi_ml.evaluation import findings, rows
from taxi_ml.evaluation.choice import Choice
from taxi_ml.evaluation.saved_models import saved_model_folder
from taxi_ml.modules import averages
from taxi_ml.modules.features import DISTANCE, IDENTIFIER, INPUTS, MISSING, NULLABLE_FLOATS
from taxi_ml.promotion.golden import Golden, GoldenTrip
from taxi_ml.storage import object_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_BATCH_ROWS: Final = 4096
_INPUTS: Final = {name: float if name in NULLABLE_FLOATS else int for name in INPUTS}
_LOTS: Final = 2**63 - 1


def choose(split: str, model: str) -> Golden:
    """Choose rows of a split, and let a model answer them.

    The fares are those of the signature that was evaluated, for the rows as they were exported: nothing that
    serves takes part in it. Only where the server looks up averages that a caller does not know, the same
    are put into the row.

    Args:
        split: the folder of the examples.
        model: a Model artifact, or the folder of a SavedModel.

    Raises:
        FileNotFoundError: if there is no SavedModel.

    """
    choice = Choice()
    for batch in rows.batches(split, _BATCH_ROWS):
        inputs = rows.columns(batch, _INPUTS)
        slicing = {name: inputs[name] for name in findings.SLICES}
        bands = findings.distance_bands(inputs[DISTANCE])
        choice.look(batch, _lots(batch), inputs, slicing | {"distance_km": bands})
    chosen = choice.rows()
    records = [each.record for each in chosen]
    inputs = rows.columns(np.array(records, object), _INPUTS)
    folder = saved_model_folder(model)
    fares = findings.serving_model(model)(np.array(_completed(records, inputs, folder), object))
    return Golden(
        model=object_uri(folder, os.environ),
        trips=tuple(
            GoldenTrip(instance=_instance(inputs, place), fare=float(fares[place]), why=each.why)
            for place, each in enumerate(chosen)
        ),
    )


def _lots(records: NDArray[Any]) -> NDArray[np.int64]:
    """Return a random number for each example, the same each time: the hash of its identifier."""
    parsed = tf.io.parse_example(records, {IDENTIFIER: tf.io.FixedLenFeature([], tf.string)})
    lots: NDArray[np.int64] = tf.strings.to_hash_bucket_fast(parsed[IDENTIFIER], _LOTS).numpy()
    return lots


def _instance(inputs: Mapping[str, NDArray[Any]], place: int) -> dict[str, float | None]:
    return {name: _value(inputs[name][place]) for name in INPUTS}


def _value(number: np.int64 | np.float64) -> float | None:
    if isinstance(number, np.integer):
        return int(number)
    # The shortest decimal that is this float32 again.
    return None if number == MISSING else float(str(np.float32(number)))


def _completed(records: list[bytes], inputs: Mapping[str, NDArray[Any]], folder: str) -> list[bytes]:
    """Put the averages beside the model into rows without any, which the server looks up there."""
    path = posixpath.join(folder, averages.FILE)
    if not tf.io.gfile.exists(path):
        return records
    with tf.io.gfile.GFile(path, "rb") as file:
        table = averages.PairAverages.load(file)
    found = table.find(np.stack([inputs[name] for name in averages.AREAS], axis=1))
    without = np.all([inputs[name] == MISSING for name in averages.NAMES], axis=0)
    return [
        _with_averages(record, found[place]) if without[place] else record
        for place, record in enumerate(records)
    ]


def _with_averages(record: bytes, found: NDArray[np.float32]) -> bytes:
    example = tf.train.Example.FromString(record)
    for name, value in zip(averages.NAMES, found.tolist(), strict=True):
        example.features.feature[name].float_list.value[:] = [value]
    serialized: bytes = example.SerializeToString()
    return serialized
