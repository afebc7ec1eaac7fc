"""Train months and score them: `python -m benchmarks.fare_models.months <folder> [seconds]`.

Runs in the pipeline environment; reads request.json of the folder. Every month's model, test examples and
run are kept in the folder, so that a run that was interrupted goes on.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from benchmarks.fare_models import product
from benchmarks.fare_models.faults import FAULTS, FEW_STEPS
from benchmarks.fare_models.trips import read, serialized
from taxi_ml.splits import Split

if TYPE_CHECKING:
    from benchmarks.fare_models.faults import Rows


def main(folder: Path, seconds: float) -> None:
    """Train what is missing until the time is over."""
    request = json.loads((folder / "request.json").read_text())
    over = time.monotonic() + seconds
    for name, wanted in request["models"].items():
        target = folder / "trained" / name
        if target.exists():
            continue
        if time.monotonic() > over:
            sys.exit("time is over; run it again")
        _train(wanted, request, target)


def _train(wanted: dict[str, Any], request: dict[str, Any], target: Path) -> None:
    splits = {split: read(Path(wanted["data"], split)) for split in Split}
    fault = wanted.get("fault")
    if fault:
        splits = FAULTS[fault](splits)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder)
        known = {split: splits[split] for split in (Split.TRAIN, Split.EVAL)}
        steps = FEW_STEPS if fault == "training cut short" else request["steps"]
        product.train(known, draft, steps=steps, options=request["options"] | wanted.get("options", {}))
        kept = draft / "kept"
        shutil.copytree(draft / "model", kept / "model")
        for split, rows in splits.items():
            _write(rows, kept / "examples" / f"Split-{split}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(kept, target.with_suffix(".draft"), dirs_exist_ok=True)
        target.with_suffix(".draft").rename(target)


def _write(rows: Rows, folder: Path) -> None:
    folder.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / "examples.gz"), options="GZIP") as writer:
        for example in serialized(rows):
            writer.write(example)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1e9)  # noqa: PLR2004
