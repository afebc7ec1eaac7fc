"""Run both formats' ExampleGens over exported trips and write their examples; for the pipeline environment.

`python -m tests.pipeline.examples_of FOLDER`: FOLDER holds csv/<split>/ and parquet/<split>/, and gets
examples.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import tensorflow as tf

from benchmarks.taxi_pipeline.example_gen import generate
from taxi_ml import naming


def examples(folder: Path) -> list[dict[str, Any]]:
    """Return each example of a split as {feature: [kind, values]}."""
    files = [str(path) for path in sorted(folder.glob("*.gz"))]
    found = []
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        found.append({name: _plain(feature) for name, feature in features.items()})
    return found


def _plain(feature: Any) -> list[Any]:  # noqa: ANN401  # a protobuf message
    kind = feature.WhichOneof("kind")
    values = getattr(feature, kind).value
    return [kind, [value.decode() if isinstance(value, bytes) else value for value in values]]


def main() -> None:
    """Generate and compare both formats."""
    folder = Path(sys.argv[1])
    found: dict[str, Any] = {}
    for examples_format in naming.ExamplesFormat:
        target = folder / "generated" / examples_format
        generate(examples_format, folder / examples_format, target)
        found[examples_format] = {split: examples(target / f"Split-{split}") for split in naming.Split}
    (folder / "examples.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
