"""Python function components, importable by the pipeline environment."""

import sys

import tensorflow as tf
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
