"""Write rows in the order of time and read them as the trainer does; for the pipeline environment.

`python -m tests.pipeline.rows_of FOLDER` writes FOLDER/read.json.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tests.pipeline.requests import MODULES

if TYPE_CHECKING:
    from collections.abc import Iterable

# The modules import each other as TFX's wheel has them: top-level.
sys.path.insert(0, str(MODULES))
import datasets  # type: ignore[import-not-found]  # isort: skip  # found from here on

ROWS = 12_000
HELD = 1000
"""Rows that are held in memory, in place of the product's 100,000."""
BATCH = 64
NAMES = ("time", "raw", "fare")


class Identity:
    """A transform's output that has a number for the time, the raw columns and the label."""

    def transformed_feature_spec(self) -> dict[str, Any]:
        """Name the features."""
        return {name: tf.io.FixedLenFeature([1], tf.float32) for name in NAMES}


def main(folder: Path) -> None:
    """Read in all ways, each twice by one seed."""
    datasets.SAMPLE_ROWS = datasets.LOOK_ROWS = HELD
    files = [write(folder / "rows.gz", ROWS)]
    few = [write(folder / "few.gz", HELD)]
    found = {
        "training": passes(files, folder / "one", seed=1),
        "again": passes(files, folder / "two", seed=1),
        "sample": times(datasets.sample(files, Identity(), seed=1).records),
        "look": looks(files, seed=1),
        "look of few": looks(few, seed=1),
        "batches": [len(fares) for _, fares in itertools.islice(batches(files, folder / "three"), 250)],
    }
    (folder / "read.json").write_text(json.dumps(found))


def write(path: Path, rows: int) -> str:
    """Write examples whose number is their place in the file, which is one shard as Beam makes it here."""
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        for time in range(rows):
            value = tf.train.Feature(float_list=tf.train.FloatList(value=[time]))
            features = tf.train.Features(feature=dict.fromkeys(NAMES, value))
            writer.write(tf.train.Example(features=features).SerializeToString())
    return str(path)


def passes(files: list[str], folder: Path, *, seed: int) -> list[list[int]]:
    """Read all rows twice, as one training does."""
    folder.mkdir()
    rows = datasets.shuffled_files(files, ROWS, str(folder), seed=seed).repeat(2)
    read = times(rows.as_numpy_iterator())
    return [read[:ROWS], read[ROWS:]]


def batches(files: list[str], folder: Path) -> Any:  # noqa: ANN401  # a tf.data.Dataset
    """Batch all rows without end."""
    folder.mkdir()
    rows = datasets.shuffled_files(files, ROWS, str(folder), seed=1)
    return datasets.training_batches(rows, Identity(), batch_size=BATCH)


def looks(files: list[str], *, seed: int) -> list[list[int]]:
    """Look at the eval rows twice, and once more with a new dataset of the same seed."""
    dataset = datasets.evaluation_batches(files, Identity(), batch_size=BATCH, seed=seed)
    anew = datasets.evaluation_batches(files, Identity(), batch_size=BATCH, seed=seed)
    return [
        [int(fare) for _, fares in each for fare in fares.numpy()[:, 0]] for each in (dataset, dataset, anew)
    ]


def times(records: Iterable[bytes]) -> list[int]:
    """Return the numbers of serialized examples."""
    parsed = (tf.train.Example.FromString(record) for record in records)
    return [int(example.features.feature["time"].float_list.value[0]) for example in parsed]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
