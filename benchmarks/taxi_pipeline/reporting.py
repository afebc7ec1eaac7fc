"""Make a run's artifacts of any size, and report on them; for the pipeline environment.

`python -m benchmarks.taxi_pipeline.reporting FOLDER`: FOLDER holds request.json with the number of rows, the
trips to repeat, and a model already made, or where to make one; it gets measured.json.
"""

from __future__ import annotations

import itertools
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from benchmarks.fare_models import product
from benchmarks.fare_models.trips import read, serialized
from taxi_ml.evaluation import findings
from taxi_ml.naming import SCHEMA_FILE
from taxi_ml.splits import Split

RUN = findings.Run(
    window="2015-07_train24_test1",
    champion_name="projects/1/locations/us-central1/models/7@1",
    anchor_name="",
    anchor_uri="",
    modules_digest="0",
    request_digest="0",
    seed=20,
)


def main(folder: Path) -> None:
    """Report on `rows` training and test rows, and measure only that."""
    request = json.loads((folder / "request.json").read_text())
    known = {split: read(Path(request["trips"], split)) for split in ("train", "eval", "test")}
    model = Path(request["model"])
    if not model.exists():
        model.mkdir()
        options = {"batch_size": 64, "seed": 20, "tuner_trials": 0, "tuner_steps": 1, "tuner_minutes": 1}
        product.train({split: known[split] for split in ("train", "eval")}, model, steps=50, options=options)
    sources = artifacts(folder, serialized(known["test"]), request["rows"], str(model / "model"))
    before, began = peak(), time.perf_counter()
    findings.gather(sources, RUN)
    measured = {"seconds": time.perf_counter() - began, "bytes": peak() - before}
    (folder / "measured.json").write_text(json.dumps(measured))


def peak() -> int:
    """Return the peak memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def artifacts(folder: Path, examples: list[bytes], rows: int, model: str) -> findings.Sources:
    """Repeat the examples in both large splits; challenger and champion are one model."""
    sizes = {Split.TRAIN: rows, Split.EVAL: len(examples), Split.TEST: rows}
    for split, size in sizes.items():
        for kind in ("examples", "statistics", "anomalies"):
            (folder / kind / split).mkdir(parents=True)
        path = str(folder / "examples" / split / "data.gz")
        with tf.io.TFRecordWriter(path, tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
            for record in itertools.islice(itertools.cycle(examples), size):
                writer.write(record)
        counted: Any = statistics_pb2.DatasetFeatureStatisticsList()
        counted.datasets.add(num_examples=size)
        (folder / "statistics" / split / "FeatureStats.pb").write_bytes(counted.SerializeToString())
        found = anomalies_pb2.Anomalies().SerializeToString()
        (folder / "anomalies" / split / "SchemaDiff.pb").write_bytes(found)
    (folder / "champion").symlink_to(model)
    (folder / SCHEMA_FILE).symlink_to(Path("taxi_ml", SCHEMA_FILE).resolve())
    folders = {
        kind: {split: str(folder / kind / split) for split in sizes} for kind in ("examples", "anomalies")
    }
    return findings.Sources(
        splits=folders["examples"],
        fingerprint="split:train,lines:1",
        statistics={split: str(folder / "statistics" / split) for split in sizes},
        schema=str(folder),
        inferred_schema=str(folder),
        anomalies=folders["anomalies"],
        challenger=model,
        champion=str(folder / "champion"),
        tuner_results=None,
        blessing=str(folder),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
