"""Compiles TFX's own examples, as they ship in its package; run as a script by the pipeline environment.

The only argument is the folder that stands for Cloud Storage: data and modules are copied to
`bucket/examples`, specs are written to `compiled/NAME-SCHEMA.json` with gs:// addresses.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tfx
from tfx.examples.chicago_taxi_pipeline import taxi_pipeline_native_keras
from tfx.examples.penguin import penguin_pipeline_kubeflow
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)
from tfx.proto import trainer_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = Path(tfx.__file__).parent
IMAGE = "taxi-vertex/pipeline:local"
BEAM = ["--runner=FnApiRunner", "--direct_num_workers=1"]
TAXI_ROWS = 1000
TRAIN_STEPS, EVAL_STEPS = 5, 2


def penguin(root: Path) -> Any:  # noqa: ANN401  # tfx has no types
    """Return the penguin pipeline for Kubeflow: runtime parameters, an imported schema, a resolver."""
    module = root / "modules" / "penguin_utils_keras.py"
    return penguin_pipeline_kubeflow.create_pipeline(
        pipeline_name="penguin",
        pipeline_root=str(root / "penguin"),
        data_root=str(root / "penguins"),
        module_file=str(module),
        ai_platform_training_args={},
        ai_platform_serving_args={},
        enable_tuning=False,
        enable_cache=True,
        user_provided_schema_path=str(root / "schema" / "schema.pbtxt"),
        beam_pipeline_args=BEAM,
        use_cloud_component=False,
        use_aip=False,
        use_vertex=False,
        serving_model_dir=str(root / "serving" / "penguin"),
    )


def taxi_template(root: Path) -> Any:  # noqa: ANN401  # tfx has no types
    """Return the pipeline of `tfx template create taxi` with all its steps uncommented."""
    source = PACKAGE / "experimental/templates/taxi/pipeline/pipeline.py"
    module = ModuleType("template")
    text = re.sub(r"^( *)# (components\.append)", r"\1\2", source.read_text(), flags=re.MULTILINE)
    exec(compile(text, str(source), "exec"), module.__dict__)  # noqa: S102  # TFX's own file
    models = "tfx.experimental.templates.taxi.models"
    return module.create_pipeline(
        pipeline_name="taxi-template",
        pipeline_root=str(root / "taxi-template"),
        data_path=str(root / "trips"),
        preprocessing_fn=f"{models}.preprocessing.preprocessing_fn",
        run_fn=f"{models}.keras_model.model.run_fn",
        train_args=trainer_pb2.TrainArgs(num_steps=TRAIN_STEPS),
        eval_args=trainer_pb2.EvalArgs(num_steps=EVAL_STEPS),
        eval_accuracy_threshold=0.1,
        serving_model_dir=str(root / "serving" / "taxi-template"),
        beam_pipeline_args=BEAM,
    )


def taxi_native_keras(root: Path) -> Any:  # noqa: ANN401  # tfx has no types
    """Return the Chicago taxi pipeline with native Keras."""
    create = taxi_pipeline_native_keras._create_pipeline  # noqa: SLF001  # the example's only door
    return create(
        pipeline_name="taxi-native-keras",
        pipeline_root=str(root / "taxi-native-keras"),
        data_root=str(root / "trips"),
        module_file=str(root / "modules" / "taxi_utils_native_keras.py"),
        serving_model_dir=str(root / "serving" / "taxi-native-keras"),
        metadata_path=str(root / "unused.db"),
        beam_pipeline_args=BEAM,
    )


EXAMPLES: dict[str, Callable[[Path], Any]] = {
    "penguin": penguin,
    "taxi-template": taxi_template,
    "taxi-native-keras": taxi_native_keras,
}


def main(gcs: Path) -> None:
    """Compile every example in both schema versions."""
    root = gcs / "bucket" / "examples"
    copy_inputs(root)
    compiled = gcs / "compiled"
    compiled.mkdir()
    for name, create in EXAMPLES.items():
        for schema in ("2.0", "2.1"):
            config = KubeflowV2DagRunnerConfig(default_image=IMAGE, use_pipeline_spec_2_1=schema == "2.1")
            job = KubeflowV2DagRunner(config).run(create(root), write_out=False)
            text = json.dumps(job).replace(f"{gcs}/", "gs://")
            (compiled / f"{name}-{schema}.json").write_text(text)


def copy_inputs(root: Path) -> None:
    """Copy a part of the data and all modules; the penguins ship as records, the example reads CSV."""
    _copy("tfx.examples.penguin.penguin_utils_keras", root / "modules")
    _copy("tfx.examples.chicago_taxi_pipeline.taxi_utils_native_keras", root / "modules")
    schema = root / "schema" / "schema.pbtxt"
    schema.parent.mkdir()
    shutil.copy(PACKAGE / "components/testdata/penguin/schema/schema.pbtxt", schema)
    trips = root / "trips" / "data.csv"
    trips.parent.mkdir()
    source = PACKAGE / "examples/chicago_taxi_pipeline/data/simple/data.csv"
    trips.write_text("".join(source.read_text().splitlines(keepends=True)[: TAXI_ROWS + 1]))
    _write_penguins(root / "penguins" / "labelled" / "penguins.csv")


def _copy(module: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(str(import_module(module).__file__), folder)


def _write_penguins(path: Path) -> None:
    path.parent.mkdir(parents=True)
    records = sorted((PACKAGE / "components/testdata/penguin/data").rglob("*.gz"))
    with path.open("w", newline="") as text:
        writer = None
        for record in tf.data.TFRecordDataset([str(record) for record in records], "GZIP"):
            features = tf.train.Example.FromString(record.numpy()).features.feature
            row = {name: _value(features[name]) for name in sorted(features)}
            writer = writer or _headed(text, list(row))
            writer.writerow(row)


def _headed(text: Any, names: list[str]) -> csv.DictWriter[str]:  # noqa: ANN401  # a text file
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    return writer


def _value(feature: Any) -> Any:  # noqa: ANN401  # tf.train.Feature
    values = getattr(feature, feature.WhichOneof("kind")).value
    return values[0] if len(values) else ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
