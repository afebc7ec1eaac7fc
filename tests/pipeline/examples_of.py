"""Make examples of exported trips in several ways and write them down; for the pipeline environment.

`python -m tests.pipeline.examples_of FOLDER READER…`: FOLDER holds csv/<split>/, parquet/<split>/ or both, as
the readers need, and gets examples.json: what each of them made of each split, and how it named it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import tensorflow as tf

from benchmarks.taxi_pipeline.example_gen import Reader, generate
from taxi_ml.splits import Split


def examples(folder: Path, pattern: str = "*.gz") -> list[dict[str, Any]]:
    """Return each example of a folder's files as {feature: [kind, values]}, in order."""
    files = [str(path) for path in sorted(folder.glob(pattern))]
    found = []
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        found.append({name: _plain(feature) for name, feature in features.items()})
    return found


def _plain(feature: Any) -> list[Any]:  # noqa: ANN401  # a protobuf message
    kind = feature.WhichOneof("kind")
    values = getattr(feature, kind).value if kind else ()
    return [kind, [value.decode() if isinstance(value, bytes) else value for value in values]]


def main() -> None:
    """Generate with each reader."""
    folder = Path(sys.argv[1])
    found: dict[str, Any] = {}
    for reader in map(Reader, sys.argv[2:]):
        target = folder / "generated" / reader
        artifact = generate(reader, folder / reader.reads, target)
        found[reader] = {
            "artifact": {
                "split_names": artifact.split_names,
                "payload_format": artifact.get_string_custom_property("payload_format"),
                "file_format": artifact.get_string_custom_property("file_format"),
            },
            "files": sorted(str(path.relative_to(target)) for path in target.glob("Split-*/*")),
            "splits": {split: examples(target / f"Split-{split}") for split in Split},
        }
    (folder / "examples.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
