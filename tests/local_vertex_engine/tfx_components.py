"""Python function components and a preprocessing function, importable by the pipeline environment."""

import json
import sys

import tensorflow as tf
import tensorflow_transform as tft
from tfx import v1 as tfx
from tfx.dsl.component.experimental.annotations import OutputDict


@tfx.dsl.components.component  # type: ignore[untyped-decorator]  # TFX has no types
def count_rows(
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
) -> OutputDict(rows=int):  # type: ignore[valid-type]  # TFX reads its schema from the annotation
    """Return how many examples the train split has."""
    files = tf.io.gfile.glob(f"{examples.uri}/Split-train/*")
    return {"rows": sum(1 for _ in tf.data.TFRecordDataset(files, compression_type="GZIP"))}


@tfx.dsl.components.component  # type: ignore[untyped-decorator]  # TFX has no types
def say(
    rows: tfx.dsl.components.Parameter[int],
    text: tfx.dsl.components.Parameter[str],
    said: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.String],
) -> None:
    """Write how many rows there are."""
    said.value = f"{text}: {int(rows)}"
    sys.stderr.write(f"said {rows}\n")


def preprocessing_fn(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Return the miles, float32[batch, 1], as shares of the longest trip in the splits that are analyzed."""
    return {"share": inputs["miles"] / tft.max(inputs["miles"])}


@tfx.dsl.components.component  # type: ignore[untyped-decorator]  # TFX has no types
def largest_shares(
    transformed: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
) -> OutputDict(shares=str):  # type: ignore[valid-type]  # TFX reads its schema from the annotation
    """Return how many rows each transformed split has, and its largest share, as JSON."""
    found = {}
    for folder in sorted(tf.io.gfile.listdir(transformed.uri)):
        files = tf.io.gfile.glob(f"{transformed.uri}/{folder}/*")
        shares = [_share(record) for record in tf.data.TFRecordDataset(files, compression_type="GZIP")]
        found[folder.removeprefix("Split-").rstrip("/")] = [len(shares), max(shares)]
    return {"shares": json.dumps(found)}


def _share(record: tf.Tensor) -> float:
    features = tf.train.Example.FromString(record.numpy()).features.feature
    return float(features["share"].float_list.value[0])
