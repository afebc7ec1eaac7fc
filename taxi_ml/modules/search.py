"""The hyperparameter search: bounded in trials and in time, and an error where a trial yields nothing."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras_tuner
from network import RMSE, Hyperparameters  # type: ignore[import-not-found]  # a sibling in the wheel

if TYPE_CHECKING:
    from collections.abc import Callable

LEARNING_RATES = (5e-3, 2e-3)
DEPTHS = (1, 2)
GRID_SIZE = len(LEARNING_RATES) * len(DEPTHS)


class SearchFailedError(RuntimeError):
    """A trial of the search brought no finite score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchBounds:
    """When a search ends: after so many trials, or with the first trial that ends after so many minutes."""

    trials: int
    minutes: float


def hyperparameter_search(
    build: Callable[[Hyperparameters], Any], *, bounds: SearchBounds, seed: int, folder: str
) -> keras_tuner.Tuner:
    """Return a tuner over the whole grid, or over a random part of it where fewer trials are allowed.

    Its `search` raises `SearchFailedError` where a trial fails or scores no finite number.
    """
    kind = keras_tuner.GridSearch if bounds.trials >= GRID_SIZE else keras_tuner.RandomSearch

    class FareTuner(_BoundedSearch, kind):  # type: ignore[misc, valid-type]  # chosen at run time
        pass

    tuner = FareTuner(
        lambda point: build(
            Hyperparameters(
                learning_rate=point.Choice("learning_rate", list(LEARNING_RATES)),
                depth=point.Choice("depth", list(DEPTHS)),
            )
        ),
        objective=keras_tuner.Objective(f"val_{RMSE}", "min"),
        max_trials=min(bounds.trials, GRID_SIZE),
        max_consecutive_failed_trials=1,
        seed=seed,
        directory=folder,
        project_name="fare",
        overwrite=True,
    )
    tuner.seconds = bounds.minutes * 60
    return tuner


class _BoundedSearch:
    """What a Keras tuner lacks: a bound in time, and the refusal of a search without result."""

    seconds: float
    oracle: Any

    def search(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        self._deadline = time.monotonic() + self.seconds
        try:
            super().search(*args, **kwargs)  # type: ignore[misc]  # of the tuner beside which this is mixed in
        except RuntimeError as error:
            raise SearchFailedError(
                "a trial of the tuner failed, or its RMSE was no finite number; its error stands above"
            ) from error
        scores = [trial.score for trial in self.oracle.trials.values()]
        if not scores or any(score is None or not math.isfinite(score) for score in scores):
            raise SearchFailedError(
                f"scores of the tuner's trials are {scores}; each must be a finite RMSE."
                " The trials' errors stand above in the log."
            )

    def on_trial_end(self, trial: Any) -> None:  # noqa: ANN401
        super().on_trial_end(trial)  # type: ignore[misc]  # as above
        if time.monotonic() >= self._deadline:
            self.oracle.max_trials = len(self.oracle.trials)
