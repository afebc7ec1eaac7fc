"""The hyperparameter search, with networks of one weight."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from taxi_ml.settings import Settings
from tests.pipeline.requests import MODULES, PIPELINE_PYTHON

pytestmark = pytest.mark.pipeline

SETTINGS = Settings(project="taxi-local", bucket="gs://taxi-local", pipeline_image="taxi:1")
DEFAULT = {"learning_rate": 5e-3, "depth": 1}
CASES = {
    "two": {"trials": 2},
    "all": {"trials": 50},
    "notebook": {"trials": SETTINGS.tuner_trials},
    "same": {"trials": 7, "rate": "5e-3"},
    "worse": {"trials": 7, "rate": "min(chosen.learning_rate, 5e-3) / chosen.depth"},
    "late": {"trials": 6, "minutes": 0.0},
    "fails": {"trials": 2, "fails": True},
    "nan": {"trials": 2, "value": float("nan")},
}
"""The searches, which one process makes: TensorFlow takes seconds to import.

`rate` is the learning rate of a trial.
"""

PROBE = """
import json, sys, tempfile
import tensorflow as tf
import keras, numpy as np
from search import SearchBounds, hyperparameter_search

def outcome(trials, minutes=5.0, fails=False, value=1.0, rate="chosen.learning_rate"):
    def build(chosen):
        if fails:
            raise ValueError("no such layer")
        network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        optimizer = keras.optimizers.SGD(eval(rate, {"chosen": chosen, "min": min}))
        network.compile(optimizer=optimizer, loss="mse")
        return network

    rows = np.random.default_rng(3).normal(size=(400, 1)) * value
    bounds = SearchBounds(trials=trials, minutes=minutes)
    try:
        tuner = hyperparameter_search(build, bounds=bounds, seed=1, folder=tempfile.mkdtemp())
        batches = tf.data.Dataset.from_tensors((rows, rows)).repeat()
        tuner.search(batches=batches, steps=20, judged=(rows, rows))
    except Exception as error:
        return {"error": str(error)}
    return {
        "best": tuner.get_best_hyperparameters()[0].values,
        "points": [trial.hyperparameters.values for trial in tuner.oracle.trials.values()],
    }

cases = json.loads(sys.argv[1])
print(json.dumps({name: outcome(**case) for name, case in cases.items()}))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Any]]:
    """The outcome of each search: the best point and those that were tried, or its error."""
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
    outcomes: dict[str, dict[str, Any]] = json.loads(ran.stdout.splitlines()[-1])
    return outcomes


@pytest.mark.parametrize(("case", "tried"), [("two", 2), ("all", 7)])
def test_search_tries_as_many_points_as_allowed(
    found: dict[str, dict[str, Any]], case: str, tried: int
) -> None:
    """A search tries the default first, then distinct points up to the bound, and no more than there are."""
    points = found[case]["points"]

    assert points[0] == DEFAULT
    assert len({tuple(point.values()) for point in points}) == len(points) == tried


def test_search_covers_the_notebooks_space(found: dict[str, dict[str, Any]]) -> None:
    """With as many trials as the settings have, both learning rates and all depths are tried."""
    assert {(point["learning_rate"], point["depth"]) for point in found["notebook"]["points"]} >= {
        (rate, depth) for rate in (1e-2, 1e-3) for depth in (1, 2, 3)
    }


def test_a_clearly_better_point_is_chosen(found: dict[str, dict[str, Any]]) -> None:
    """Where the default has learned little in its steps, a higher learning rate is chosen."""
    assert found["all"]["best"]["learning_rate"] == 1e-2


@pytest.mark.parametrize("case", ["same", "worse"])
def test_the_default_is_kept_where_trials_are_as_good(found: dict[str, dict[str, Any]], case: str) -> None:
    """Points that differ from the default by nothing, or are worse, do not replace it."""
    assert found[case]["best"] == DEFAULT


def test_search_ends_with_its_time(found: dict[str, dict[str, Any]]) -> None:
    """After the deadline no further trial begins."""
    assert found["late"]["points"] == [DEFAULT]


def test_failing_trial_fails_the_search(found: dict[str, dict[str, Any]]) -> None:
    """A model that cannot be built is an error, not an empty result."""
    assert "no such layer" in found["fails"]["error"]


def test_score_that_is_no_number_fails_the_search(found: dict[str, dict[str, Any]]) -> None:
    """A search that ends with NaN is an error that says so."""
    assert "its error was not a finite number" in found["nan"]["error"]
