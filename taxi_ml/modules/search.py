"""The hyperparameter search: bounded in trials and time, and in favor of the default.

Each trial is compared with the default, which is the first, on the same rows. Its score is the error that it
has at most, with some certainty, so that the lowest score is the default's unless a trial is better beyond
its noise.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import keras
import keras_tuner
import numpy as np
from keras_tuner.engine import base_tuner
from network import Hyperparameters  # type: ignore[import-not-found]  # a sibling in the wheel

if TYPE_CHECKING:
    from collections.abc import Callable

LEARNING_RATES = (5e-3, 1e-2, 1e-3)
DEPTHS = (1, 2, 3)
POINTS = (
    Hyperparameters(),
    *(
        Hyperparameters(learning_rate=rate, depth=depth)
        for depth in DEPTHS
        for rate in LEARNING_RATES
        if rate != Hyperparameters().learning_rate
    ),
)
"""The default, then the learning rates and depths of TFX's taxi notebooks."""

STANDARD_ERRORS = 2.4
"""Of six trials that are as good as the default, one passes by chance in 20 searches: 6 * 0.8 %."""

SCORE = "mae_bound"
"""USD on the judged rows: the default's mean absolute error, to which a trial's score adds the upper end of
its paired difference from the default."""


class SearchFailedError(RuntimeError):
    """A trial of the search has no finite score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchBounds:
    """The end of a search: after `trials`, or with the first trial that ends after `minutes`."""

    trials: int
    minutes: float


def hyperparameter_search(
    build: Callable[[Hyperparameters], Any], *, bounds: SearchBounds, seed: int, folder: str
) -> base_tuner.BaseTuner:
    """Return a tuner over `POINTS`, or over the first of them if fewer trials are allowed.

    Its `search` takes `batches`, (inputs, fares) without an end, the number of `steps`, and `judged`, inputs
    and fares in USD that the batches do not have. It raises `SearchFailedError` if a trial fails or has no
    finite score.
    """
    return _FareTuner(
        oracle=_InOrder(
            objective=keras_tuner.Objective(SCORE, "min"),
            max_trials=min(bounds.trials, len(POINTS)),
            max_consecutive_failed_trials=1,
            seed=seed,
        ),
        hypermodel=lambda point: build(
            Hyperparameters(
                learning_rate=point.Choice("learning_rate", list(LEARNING_RATES)),
                depth=point.Choice("depth", list(DEPTHS)),
            )
        ),
        seconds=bounds.minutes * 60,
        directory=folder,
        project_name="fare",
        overwrite=True,
    )


def upper_bound(errors: Any, default: Any) -> float:  # noqa: ANN401  # numpy arrays of any shape
    """Return the score of absolute `errors`, USD, of the same rows as the `default`'s."""
    difference = errors - default
    noise = STANDARD_ERRORS * difference.std() / math.sqrt(len(difference))
    return float(default.mean() + difference.mean() + noise)


class _InOrder(keras_tuner.Oracle):  # type: ignore[misc]  # keras_tuner has no types
    """Proposes the points in their order."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        del trial_id
        return {"status": "RUNNING", "values": asdict(POINTS[len(self.start_order)])}


class _FareTuner(base_tuner.BaseTuner):  # type: ignore[misc]  # keras_tuner has no types
    """Trains each point once and judges it on rows that it has not seen."""

    def __init__(self, *, seconds: float, **kwargs: Any) -> None:  # noqa: ANN401  # BaseTuner's
        super().__init__(**kwargs)
        self._seconds = seconds
        self._default: Any = None

    def search(self, **kwargs: Any) -> None:  # noqa: ANN401  # those of run_trial
        self._deadline = time.monotonic() + self._seconds
        try:
            super().search(**kwargs)
        except RuntimeError as error:
            raise SearchFailedError(
                "a trial of the tuner failed, or its error was not a finite number; see the log above"
            ) from error
        scores = [trial.score for trial in self.oracle.trials.values()]
        if not scores or any(score is None or not math.isfinite(score) for score in scores):
            raise SearchFailedError(
                f"scores of the tuner's trials are {scores}; each must be a finite error in USD."
                " The trials' errors are above in the log."
            )

    def run_trial(self, trial: Any, *, batches: Any, steps: int, judged: tuple[Any, Any]) -> dict[str, float]:  # noqa: ANN401
        # The same initial weights and dropout for points of the same depth make the comparison less noisy.
        keras.utils.set_random_seed(self.oracle.seed)
        network = self.hypermodel.build(trial.hyperparameters)
        # Without callbacks, fit leaves the weights' moving average in the network.
        network.fit(batches, steps_per_epoch=steps, epochs=1, verbose=0)
        inputs, fares = judged
        members = network.predict(inputs, batch_size=_JUDGED_BATCH, verbose=0)
        errors = np.abs(members.mean(axis=1, keepdims=True) - fares)
        if self._default is None:
            self._default = errors
        return {SCORE: upper_bound(errors, self._default)}

    def on_trial_end(self, trial: Any) -> None:  # noqa: ANN401
        super().on_trial_end(trial)
        if time.monotonic() >= self._deadline:
            self.oracle.max_trials = len(self.oracle.trials)


_JUDGED_BATCH = 4096
