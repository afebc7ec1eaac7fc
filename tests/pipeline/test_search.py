from __future__ import annotations

import os
import subprocess

import pytest

from tests.pipeline.requests import MODULES, PIPELINE_PYTHON

pytestmark = pytest.mark.pipeline

PROBE = """
import sys, tempfile
import keras, numpy as np
from network import MAE, RMSE
from search import SearchBounds, hyperparameter_search

def build(chosen):
    if {fails}:
        raise ValueError("no such layer")
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    rmse = keras.metrics.RootMeanSquaredError(name=RMSE)
    network.compile(optimizer=keras.optimizers.Adam(chosen.learning_rate), loss="mse", metrics=[rmse])
    return network

tuner = hyperparameter_search(
    build, bounds=SearchBounds(trials={trials}, minutes={minutes}), seed=1, folder=tempfile.mkdtemp()
)
rows = np.full((8, 1), {value})
tuner.search(x=rows, y=rows, validation_data=(rows, rows), verbose=0)
points = [trial.hyperparameters.values for trial in tuner.oracle.trials.values()]
print(len({{(point["learning_rate"], point["depth"]) for point in points}}), "trials")
"""


def search(
    *, trials: int, fails: bool = False, minutes: float = 5.0, value: str = "1.0"
) -> subprocess.CompletedProcess[str]:
    """Search in the pipeline environment."""
    return subprocess.run(
        [PIPELINE_PYTHON, "-c", PROBE.format(trials=trials, fails=fails, minutes=minutes, value=value)],
        cwd=MODULES,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
    )


@pytest.mark.parametrize(("trials", "tried"), [(2, 2), (4, 4), (50, 4)])
def test_search_tries_as_many_points_as_allowed(trials: int, tried: int) -> None:
    """A search tries distinct points of the grid, up to the bound, and no more than there are."""
    assert search(trials=trials).stdout.splitlines()[-1] == f"{tried} trials"


def test_search_ends_with_its_time() -> None:
    """After the deadline no further trial begins."""
    assert search(trials=6, minutes=0.0).stdout.splitlines()[-1] == "1 trials"


def test_failing_trial_fails_the_search() -> None:
    """A model that cannot be built is an error, not an empty result."""
    failed = search(trials=2, fails=True)

    assert failed.returncode != 0
    assert "no such layer" in failed.stdout + failed.stderr


def test_score_that_is_no_number_fails_the_search() -> None:
    """A search that ends with NaN is an error that says so."""
    failed = search(trials=2, value="float('nan')")

    assert failed.returncode != 0
    assert "its RMSE was no finite number" in failed.stderr.splitlines()[-1]
