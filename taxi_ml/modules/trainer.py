"""TFX's entry points of the Trainer and the Tuner."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import datasets  # type: ignore[import-not-found]  # a sibling is a top-level module in the wheel
import keras
import signatures  # type: ignore[import-not-found]  # as above
import tensorflow_transform as tft
from network import RMSE, Hyperparameters, build_network  # type: ignore[import-not-found]  # as above
from search import SearchBounds, hyperparameter_search  # type: ignore[import-not-found]  # as above
from tfx.components.tuner.component import TunerFnResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tfx.components.trainer.fn_args_utils import FnArgs

_EPOCHS = 20
"""How often a training looks at the eval split."""
_TRIAL_EPOCHS = 5
"""How often a trial of the Tuner does, which saves its weights each time."""
_PATIENCE = 0.3
"""Share of the epochs without a gain that ends a training."""
_MOST_PASSES = 14
"""Over rows that are few, more passes make the network remember them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """What the pipeline passes as `custom_config`; `ranges` bound the features of a question."""

    batch_size: int
    seed: int
    tuner_trials: int
    tuner_steps: int
    tuner_minutes: float
    ranges: Mapping[str, Sequence[float]] = field(default_factory=dict)


def run_fn(fn_args: FnArgs) -> None:
    """Train on the train split, stop early on the eval split, export the SavedModel."""
    options = TrainingOptions(**fn_args.custom_config)
    keras.utils.set_random_seed(options.seed)
    transform = tft.TFTransformOutput(fn_args.transform_output)
    sample = datasets.sample(fn_args.train_files, transform, seed=options.seed)
    steps = _steps(sample, fn_args.train_steps, options.batch_size)
    network = build_network(
        datasets.input_sizes(transform), sample.scale, _chosen(fn_args.hyperparameters), steps=steps
    )
    fit_arguments = _fit_arguments(fn_args, transform, options, steps=steps, epochs=_EPOCHS)
    with tempfile.TemporaryDirectory(prefix="training-") as folder:
        rows = _rows(sample, fn_args.train_files, folder, options.seed)
        batches = datasets.training_batches(rows, transform, batch_size=options.batch_size)
        network.fit(batches, **fit_arguments, verbose=2)
    signatures.export(network, transform, fn_args.serving_model_dir, ranges=options.ranges)
    signatures.write_profile(sample.inputs, transform, fn_args.serving_model_dir)


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Search learning rate and depth for the lowest RMSE on the eval split; trials learn from the sample."""
    options = TrainingOptions(**fn_args.custom_config)
    keras.utils.set_random_seed(options.seed)
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    sizes = datasets.input_sizes(transform)
    sample = datasets.sample(fn_args.train_files, transform, seed=options.seed)
    steps = _steps(sample, options.tuner_steps, options.batch_size)
    tuner = hyperparameter_search(
        lambda hyperparameters: build_network(sizes, sample.scale, hyperparameters, steps=steps),
        bounds=SearchBounds(trials=options.tuner_trials, minutes=options.tuner_minutes),
        seed=options.seed,
        folder=tempfile.mkdtemp(prefix="tuner-"),
    )
    fit_arguments = _fit_arguments(fn_args, transform, options, steps=steps, epochs=_TRIAL_EPOCHS)
    rows = datasets.shuffled_sample(sample, seed=options.seed)
    batches = datasets.training_batches(rows, transform, batch_size=options.batch_size)
    return TunerFnResult(tuner=tuner, fit_kwargs=fit_arguments | {"x": batches, "verbose": 0})


def _rows(sample: datasets.Sample, files: Sequence[str], folder: str, seed: int) -> Any:  # noqa: ANN401  # a tf.data.Dataset
    """Shuffle the rows in memory where they are few, else through files in `folder`."""
    if sample.is_everything:
        return datasets.shuffled_sample(sample, seed=seed)
    return datasets.shuffled_files(files, sample.total, folder, seed=seed)


def _steps(sample: datasets.Sample, most: int, batch_size: int) -> int:
    """Return how many batches to learn from: `most`, or what `_MOST_PASSES` over all rows are."""
    return min(most, math.ceil(_MOST_PASSES * sample.total / batch_size)) if sample.is_everything else most


def _chosen(configuration: Mapping[str, Any] | None) -> Hyperparameters:
    """Take the Tuner's choice, or the defaults where the pipeline has no Tuner."""
    return Hyperparameters(**configuration["values"]) if configuration else Hyperparameters()


def _fit_arguments(
    fn_args: FnArgs,
    transform: tft.TFTransformOutput,
    options: TrainingOptions,
    *,
    steps: int,
    epochs: int,
) -> dict[str, Any]:
    per_epoch = math.ceil(steps / epochs)
    return {
        "validation_data": datasets.evaluation_batches(
            fn_args.eval_files, transform, batch_size=options.batch_size, seed=options.seed
        ),
        "steps_per_epoch": per_epoch,
        "epochs": math.ceil(steps / per_epoch),
        "callbacks": [
            # Before the early stopping, so that the averaged weights are those that it keeps.
            keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
            keras.callbacks.EarlyStopping(
                monitor=f"val_{RMSE}",
                mode="min",
                patience=math.ceil(_PATIENCE * epochs),
                restore_best_weights=True,
            ),
        ],
    }
