"""The hyperparameter search: bounded in trials and time; a trial without a score is an error."""

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
    """A trial of the search has no finite score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchBounds:
    """The end of a search: after `trials`, or with the first trial that ends after `minutes`."""

    trials: int
    minutes: float


def hyperparameter_search(
    build: Callable[[Hyperparameters], Any], *, bounds: SearchBounds, seed: int, folder: str
) -> keras_tuner.Tuner:
    """Return a tuner over the whole grid, or over a random part of it if fewer trials are allowed.

    Its `search` raises `SearchFailedError` if a trial fails or has no finite score.
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
    """Adds to a Keras tuner a bound in time, and an error for a search without a result."""

    seconds: float
    oracle: Any

    def search(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        self._deadline = time.monotonic() + self.seconds
        try:
            super().search(*args, **kwargs)  # type: ignore[misc]  # of the tuner that this is mixed into
        except RuntimeError as error:
            raise SearchFailedError(
                "a trial of the tuner failed, or its RMSE was no finite number; its error stands above"
            ) from error
        scores = [trial.score for trial in self.oracle.trials.values()]
        if not scores or any(score is None or not math.isfinite(score) for score in scores):
            raise SearchFailedError(
                f"scores of the tuner's trials are {scores}; each must be a finite RMSE."
                " The trials' errors are above in the log."
            )

    def on_trial_end(self, trial: Any) -> None:  # noqa: ANN401
        super().on_trial_end(trial)  # type: ignore[misc]  # as above
        if time.monotonic() >= self._deadline:
            self.oracle.max_trials = len(self.oracle.trials)
