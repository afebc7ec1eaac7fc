"""Measure the rate at which trips reach the trainer: `python -m benchmarks.fare_models.feed <folder>`.

Runs in the pipeline environment; reads request.json of the folder and writes rates.json there.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf
import tensorflow_transform as tft

from benchmarks.fare_models import product
from benchmarks.fare_models.trips import read

# From the modules' folder, which `product` put on the path.
import datasets  # type: ignore[import-not-found]  # isort: skip  # a module of the wheel
import features  # type: ignore[import-not-found]  # isort: skip  # as above
from network import Hyperparameters, build_network  # type: ignore[import-not-found]  # isort: skip  # as above

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 1_000_000
SECONDS = 4.0
ROUNDS = 3
NOTEBOOK_BATCH = 20
TRACED_STEPS = 20
TRAINED_STEPS = 400


def main(folder: Path) -> None:
    """Transform the trips, then measure each way to feed them several times, in turn."""
    request = json.loads((folder / "request.json").read_text())
    known = {split: read(Path(request["data"], split)) for split in ("train", "eval")}
    product.transform(known, folder)
    transform = tft.TFTransformOutput(str(folder))
    files = [f"{folder}/train-*"]
    batch_size = request["batch_size"]
    sample = datasets.sample(files, transform, seed=1)

    def ours() -> tf.data.Dataset:
        return datasets.training_batches(
            datasets.shuffled_sample(sample, seed=1), transform, batch_size=batch_size
        )

    def through_files() -> tf.data.Dataset:
        # Given more rows than there are, it writes several files, as it would for that many.
        rows = datasets.shuffled_files(files, ROWS, tempfile.mkdtemp(dir=folder), seed=1)
        return datasets.training_batches(rows, transform, batch_size=batch_size)

    rates: dict[str, list[float]] = {"product": [], "files": [], "notebook": [], "trainer": []}
    for _ in range(ROUNDS):
        rates["product"].append(examples_per_second(ours, batch_size))
        rates["files"].append(examples_per_second(through_files, batch_size))
        rates["notebook"].append(examples_per_second(lambda: notebook(files, transform), NOTEBOOK_BATCH))
        rates["trainer"].append(trained_per_second(ours(), sample, transform, batch_size))
    (folder / "rates.json").write_text(json.dumps(rates))


def examples_per_second(batches: Callable[[], tf.data.Dataset], batch_size: int) -> float:
    """Take batches for some seconds, after the first, which fills caches and buffers."""
    taken = iter(batches())
    next(taken)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        next(taken)
        count += 1
    return count * batch_size / (time.perf_counter() - began)


def notebook(files: list[str], transform: tft.TFTransformOutput) -> tf.data.Dataset:
    """Feed as TFX's notebooks do: one file after the other, small batches, nothing ahead of time."""
    spec = transform.transformed_feature_spec()

    def parse(serialized: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        columns = tf.io.parse_example(serialized, spec)
        return columns, columns.pop(features.LABEL)

    names = sorted(name for pattern in files for name in tf.io.gfile.glob(pattern))
    records = tf.data.TFRecordDataset(names, compression_type="GZIP").shuffle(10_000).repeat()
    return records.batch(NOTEBOOK_BATCH).map(parse)


def trained_per_second(
    batches: tf.data.Dataset, sample: datasets.Sample, transform: tft.TFTransformOutput, batch_size: int
) -> float:
    """Train the default network; its first steps, which trace it, do not count."""
    sizes = datasets.input_sizes(transform)
    network = build_network(sizes, sample.scale, Hyperparameters(), steps=TRACED_STEPS + TRAINED_STEPS)
    network.fit(batches, steps_per_epoch=TRACED_STEPS, epochs=1, verbose=0)
    began = time.perf_counter()
    network.fit(batches, steps_per_epoch=TRAINED_STEPS, epochs=1, verbose=0)
    return TRAINED_STEPS * batch_size / (time.perf_counter() - began)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
