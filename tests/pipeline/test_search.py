from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.pipeline.requests import MODULES, PIPELINE_PYTHON

pytestmark = pytest.mark.pipeline

CASES = {
    "two": {"trials": 2},
    "four": {"trials": 4},
    "fifty": {"trials": 50},
    "late": {"trials": 6, "minutes": 0.0},
    "fails": {"trials": 2, "fails": True},
    "nan": {"trials": 2, "nan": True},
}
"""The searches, which one process makes: TensorFlow takes seconds to import."""

PROBE = """
import json, sys, tempfile
import keras, numpy as np
from network import MAE, RMSE
from search import SearchBounds, hyperparameter_search

def outcome(trials, minutes=5.0, fails=False, nan=False):
    def build(chosen):
        if fails:
            raise ValueError("no such layer")
        network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        rmse = keras.metrics.RootMeanSquaredError(name=RMSE)
        network.compile(optimizer=keras.optimizers.Adam(chosen.learning_rate), loss="mse", metrics=[rmse])
        return network

    rows = np.full((8, 1), float("nan") if nan else 1.0)
    bounds = SearchBounds(trials=trials, minutes=minutes)
    try:
        tuner = hyperparameter_search(build, bounds=bounds, seed=1, folder=tempfile.mkdtemp())
        tuner.search(x=rows, y=rows, validation_data=(rows, rows), verbose=0)
    except Exception as error:
        return {"error": str(error)}
    points = [trial.hyperparameters.values for trial in tuner.oracle.trials.values()]
    return {"tried": len({(point["learning_rate"], point["depth"]) for point in points})}

cases = json.loads(sys.argv[1])
print(json.dumps({name: outcome(**case) for name, case in cases.items()}))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, object]]:
    """The outcome of each search: the number of distinct points that it tried, or its error."""
    ran = subprocess.run(
        [PIPELINE_PYTHON, "-c", PROBE, json.dumps(CASES)],
        cwd=MODULES,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert ran.returncode == 0, ran.stderr
    outcomes: dict[str, dict[str, object]] = json.loads(ran.stdout.splitlines()[-1])
    return outcomes


@pytest.mark.parametrize(("case", "tried"), [("two", 2), ("four", 4), ("fifty", 4)])
def test_search_tries_as_many_points_as_allowed(
    found: dict[str, dict[str, object]], case: str, tried: int
) -> None:
    """A search tries distinct points of the grid, up to the bound, and no more than there are."""
    assert found[case] == {"tried": tried}


def test_search_ends_with_its_time(found: dict[str, dict[str, object]]) -> None:
    """After the deadline no further trial begins."""
    assert found["late"] == {"tried": 1}


def test_failing_trial_fails_the_search(found: dict[str, dict[str, object]]) -> None:
    """A model that cannot be built is an error, not an empty result."""
    assert "no such layer" in str(found["fails"]["error"])


def test_score_that_is_no_number_fails_the_search(found: dict[str, dict[str, object]]) -> None:
    """A search that ends with NaN is an error that says so."""
    assert "its RMSE was no finite number" in str(found["nan"]["error"])
