"""TFX's entry points of the Trainer and the Tuner."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import datasets  # type: ignore[import-not-found]  # a sibling is a top-level module in the wheel
import features  # type: ignore[import-not-found]  # as above
import keras
import means  # type: ignore[import-not-found]  # as above
import numpy as np
import signatures  # type: ignore[import-not-found]  # as above
import tensorflow_transform as tft
from domains import (  # type: ignore[import-not-found]  # as above
    YEAR_SECONDS,
    Domain,
    least_fare,
    number_ranges,
)
from intervals import FEATURE, Intervals  # type: ignore[import-not-found]  # as above
from network import (  # type: ignore[import-not-found]  # as above
    RMSE,
    Hyperparameters,
    build_network,
    fare,
)
from search import SearchBounds, hyperparameter_search  # type: ignore[import-not-found]  # as above
from tfx.components.tuner.component import TunerFnResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tfx.components.trainer.fn_args_utils import FnArgs

_EPOCHS = 20
"""How often training evaluates the eval split."""
_JUDGED = 0.1
"""The share of the training rows, the newest, on which the Tuner judges its trials."""
_PATIENCE = 0.3
"""Training stops after this share of its epochs without a gain."""
_PREDICTED_ROWS = 4096
_MOST_PASSES = 14
"""More passes over few rows make the network memorise them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """The `custom_config` that the pipeline passes.

    `ranges` bound the features of a prediction request; `averages` is the pattern of the files with the pair
    averages, or empty. `members` are the addresses of earlier models whose mean with the new one is exported.
    """

    batch_size: int
    seed: int
    tuner_trials: int
    tuner_steps: int
    tuner_minutes: float
    ranges: Mapping[str, Sequence[float]] = field(default_factory=dict)
    averages: str = ""
    members: Sequence[str] = ()


def run_fn(fn_args: FnArgs) -> None:
    """Train on the train split, stop early on the eval split, export the SavedModel."""
    options = TrainingOptions(**fn_args.custom_config)
    members = list(means.networks(options.members))  # before the training, because files may be gone
    keras.utils.set_random_seed(options.seed)
    transform = tft.TFTransformOutput(fn_args.transform_output)
    sample = datasets.sample(fn_args.train_files, transform, seed=options.seed)
    steps = _steps(sample, fn_args.train_steps, options.batch_size)
    chosen = fn_args.hyperparameters  # None in a pipeline without a Tuner
    hyperparameters = Hyperparameters(**chosen["values"]) if chosen else Hyperparameters()
    network = build_network(datasets.input_sizes(transform), sample.scale, hyperparameters, steps=steps)
    fit_arguments = _fit_arguments(fn_args, transform, options, steps=steps)
    with tempfile.TemporaryDirectory(prefix="training-") as folder:
        rows = (
            datasets.shuffled_sample(sample, seed=options.seed)
            if sample.is_everything
            else datasets.shuffled_files(fn_args.train_files, sample.total, folder, seed=options.seed)
        )
        batches = datasets.training_batches(rows, transform, batch_size=options.batch_size)
        network.fit(batches, **fit_arguments, verbose=2)
    domain = _domain(sample, transform)
    folder = fn_args.serving_model_dir
    signatures.export(network, transform, folder, ranges=options.ranges, domain=domain, members=members)
    signatures.write_profile(sample.inputs | {features.LABEL: sample.fares}, transform, folder)
    held_out = datasets.held_out(fn_args.eval_files, transform, seed=options.seed)
    signatures.write_intervals(_intervals(network, held_out, domain), folder)
    if options.averages:
        signatures.write_averages(options.averages, folder)


def _domain(sample: datasets.Sample, transform: tft.TFTransformOutput) -> Domain:
    """Describe the training rows; rare categories are outside, since the network cannot tell them apart."""
    raw = dict(zip(features.RAW_NAMES, sample.raw.T, strict=True))
    times = raw.pop(features.TIMESTAMP)
    words = [word.decode().split("=") for word in transform.vocabulary_by_name(features.VOCABULARY)]
    return Domain(
        numbers={
            **number_ranges(raw),
            features.TIMESTAMP: (float(times.min()), float(times.max()) + YEAR_SECONDS),
        },
        categories={
            name: frozenset(int(value) for word, value in words if word == name)
            for name in features.CATEGORIES
        },
        least_fare=least_fare(sample.fares[:, 0], times),
    )


def _intervals(network: Any, held_out: datasets.Sample, domain: Domain) -> Intervals:  # noqa: ANN401
    """Calibrate on rows that the network did not learn from, with the floor of the signature."""
    members = network.predict(held_out.inputs, batch_size=_PREDICTED_ROWS, verbose=0)
    predicted = np.maximum(fare(members), domain.least_fare)
    metres = held_out.raw[:, features.RAW_NAMES.index(FEATURE)]
    return Intervals.of(metres, (held_out.fares - predicted)[:, 0])


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Search learning rate and depth; trials train on the sample's older rows, and its newest judge them.

    A model is asked about later trips than it learned from, so rows of the same days would favor points that
    remember these days.
    """
    options = TrainingOptions(**fn_args.custom_config)
    keras.utils.set_random_seed(options.seed)
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    sizes = datasets.input_sizes(transform)
    older, newest = datasets.by_age(
        datasets.sample(fn_args.train_files, transform, seed=options.seed), newest=_JUDGED
    )
    steps = _steps(older, options.tuner_steps, options.batch_size)
    tuner = hyperparameter_search(
        lambda hyperparameters: build_network(sizes, older.scale, hyperparameters, steps=steps),
        bounds=SearchBounds(trials=options.tuner_trials, minutes=options.tuner_minutes),
        seed=options.seed,
        folder=tempfile.mkdtemp(prefix="tuner-"),
    )
    rows = datasets.shuffled_sample(older, seed=options.seed)
    batches = datasets.training_batches(rows, transform, batch_size=options.batch_size)
    fit_arguments = {"batches": batches, "steps": steps, "judged": (newest.inputs, newest.fares)}
    return TunerFnResult(tuner=tuner, fit_kwargs=fit_arguments)


def _steps(sample: datasets.Sample, most: int, batch_size: int) -> int:
    """Return the number of batches to train on: `most`, or fewer if that is more than `_MOST_PASSES`."""
    return min(most, math.ceil(_MOST_PASSES * sample.total / batch_size)) if sample.is_everything else most


def _fit_arguments(
    fn_args: FnArgs,
    transform: tft.TFTransformOutput,
    options: TrainingOptions,
    *,
    steps: int,
) -> dict[str, Any]:
    # An epoch is not a pass over the rows, but the time between two evaluations.
    per_epoch = math.ceil(steps / _EPOCHS)
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
                patience=math.ceil(_PATIENCE * _EPOCHS),
                restore_best_weights=True,
            ),
        ],
    }
