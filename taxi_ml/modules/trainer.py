"""TFX's entry points of the Trainer and the Tuner."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import datasets  # type: ignore[import-not-found]  # a sibling is a top-level module in the wheel
import keras
import signatures  # type: ignore[import-not-found]  # as above
import tensorflow_transform as tft
from network import RMSE, Hyperparameters, build_network  # type: ignore[import-not-found]  # as above
from search import SearchBounds, hyperparameter_search  # type: ignore[import-not-found]  # as above
from tfx.components.tuner.component import TunerFnResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tfx.components.trainer.fn_args_utils import FnArgs

_STEPS_AN_EPOCH = 100
_PATIENCE_EPOCHS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """What the pipeline passes as `custom_config`."""

    batch_size: int
    seed: int
    tuner_trials: int
    tuner_steps: int
    tuner_minutes: float


def run_fn(fn_args: FnArgs) -> None:
    """Train on the train split, stop early on the eval split, export the SavedModel."""
    options = TrainingOptions(**fn_args.custom_config)
    keras.utils.set_random_seed(options.seed)
    transform = tft.TFTransformOutput(fn_args.transform_output)
    network = build_network(
        datasets.input_sizes(transform),
        datasets.fare_scale(fn_args.train_files, transform),
        _chosen(fn_args.hyperparameters),
    )
    network.fit(**_fit_arguments(fn_args, transform, options, steps=fn_args.train_steps), verbose=2)
    signatures.export(network, transform, fn_args.serving_model_dir)
    columns = datasets.transformed_columns(fn_args.train_files, transform)
    signatures.write_profile(columns, transform, fn_args.serving_model_dir)


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Search learning rate and depth for the lowest RMSE on the eval split."""
    options = TrainingOptions(**fn_args.custom_config)
    keras.utils.set_random_seed(options.seed)
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    sizes = datasets.input_sizes(transform)
    scale = datasets.fare_scale(fn_args.train_files, transform)
    tuner = hyperparameter_search(
        lambda hyperparameters: build_network(sizes, scale, hyperparameters),
        bounds=SearchBounds(trials=options.tuner_trials, minutes=options.tuner_minutes),
        seed=options.seed,
        folder=tempfile.mkdtemp(prefix="tuner-"),
    )
    return TunerFnResult(
        tuner=tuner,
        fit_kwargs=_fit_arguments(fn_args, transform, options, steps=options.tuner_steps) | {"verbose": 0},
    )


def _chosen(configuration: Mapping[str, Any] | None) -> Hyperparameters:
    """Take the Tuner's choice, or the defaults where the pipeline has no Tuner."""
    return Hyperparameters(**configuration["values"]) if configuration else Hyperparameters()


def _fit_arguments(
    fn_args: FnArgs, transform: tft.TFTransformOutput, options: TrainingOptions, *, steps: int
) -> dict[str, Any]:
    per_epoch = min(steps, _STEPS_AN_EPOCH)
    return {
        "x": datasets.training_batches(
            fn_args.train_files, transform, batch_size=options.batch_size, seed=options.seed
        ),
        "validation_data": datasets.evaluation_batches(
            fn_args.eval_files, transform, batch_size=options.batch_size
        ),
        "steps_per_epoch": per_epoch,
        "epochs": math.ceil(steps / per_epoch),
        "callbacks": [
            # Before the early stopping, so that the averaged weights are those that it keeps.
            keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
            keras.callbacks.EarlyStopping(
                monitor=f"val_{RMSE}", mode="min", patience=_PATIENCE_EPOCHS, restore_best_weights=True
            ),
        ],
    }
