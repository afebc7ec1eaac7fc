"""The product's model, from its own modules: transform, search, training and export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io, schema_utils
from tfx.components.trainer.fn_args_utils import FnArgs

from benchmarks.fare_models.trips import RAW_SPEC, serialized

# The modules import each other as TFX's wheel has them: top-level.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "taxi_ml" / "modules"))
import preprocessing  # type: ignore[import-not-found]  # a module of the wheel
import trainer  # type: ignore[import-not-found]  # as above

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rows = list[dict[str, list[Any]]]
_RUNNER = ["--runner=FnApiRunner", "--direct_num_workers=1"]


def train(
    known: dict[str, Rows], folder: Path, *, steps: int, options: dict[str, Any]
) -> dict[str, Any] | None:
    """Leave the SavedModel in `folder`/model; `known` are the train and eval rows.

    Return the hyperparameters that the Tuner chose, None if it is off.
    """
    transform(known, folder)
    chosen = search(folder, options) if options["tuner_trials"] else None
    trainer.run_fn(FnArgs(**_arguments(folder, options), train_steps=steps, hyperparameters=chosen))
    return chosen["values"] if chosen else None


def search(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Return the Tuner's best configuration for the transformed rows of `folder`."""
    found = trainer.tuner_fn(FnArgs(**_arguments(folder, options)))
    found.tuner.search(**found.fit_kwargs)
    configuration: dict[str, Any] = found.tuner.get_best_hyperparameters()[0].get_config()
    return configuration


def _arguments(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "train_files": [f"{folder}/train-*"],
        "eval_files": [f"{folder}/eval-*"],
        "transform_output": str(folder),
        "transform_graph_path": str(folder),
        "custom_config": options,
        "serving_model_dir": str(folder / "model"),
    }


def predict(folder: Path, asked: Rows) -> NDArray[np.float64]:
    """Return the predictions of the exported model's serving signature."""
    signature = tf.saved_model.load(str(folder / "model")).signatures["serving_default"]
    fares: NDArray[np.float64] = signature(examples=tf.constant(serialized(asked)))["fare"].numpy()[:, 0]
    return fares.astype(np.float64)


def transform(known: dict[str, Rows], folder: Path) -> None:
    """Run the product's Transform over the train and eval rows, as TFX does; the result is in `folder`."""
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(RAW_SPEC))
    metadata_io.write_metadata(metadata, str(folder / tft.TFTransformOutput.RAW_METADATA_DIR))
    with (
        beam.Pipeline(options=PipelineOptions(_RUNNER)) as pipeline,
        tft_beam.Context(temp_dir=str(folder / "temporary")),
    ):
        raw = {name: (pipeline | name >> beam.Create(rows), metadata) for name, rows in known.items()}
        transform_fn = raw["train"] | tft_beam.AnalyzeDataset(preprocessing.preprocessing_fn)
        transform_fn | tft_beam.WriteTransformFn(str(folder))
        for name, rows in raw.items():
            _write(name, (rows, transform_fn) | f"transform {name}" >> tft_beam.TransformDataset(), folder)


def _write(name: str, transformed: Any, folder: Path) -> None:  # noqa: ANN401  # a pair of Beam's
    examples, metadata = transformed
    coder = tft.coders.ExampleProtoCoder(metadata.schema)
    _ = (
        examples
        | f"encode {name}" >> beam.Map(coder.encode)
        | f"write {name}" >> beam.io.WriteToTFRecord(f"{folder}/{name}", file_name_suffix=".gz")
    )
