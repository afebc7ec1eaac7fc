"""Runs whose trips are broken end before Transform, unless the policy or a person lets them pass."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from datetime import date
from typing import TYPE_CHECKING

import pytest

from local_vertex.run.root_cause import root_cause as local_cause
from taxi_ml.evaluation.broken_trips import BrokenTripsError, stop_if_broken
from taxi_ml.gate import policy
from taxi_ml.gate.decision import Override
from taxi_ml.gate.report import Anomaly
from taxi_ml.pipeline.parameters import Parameter, RunParameters
from taxi_ml.splits import Split
from tests.pipeline.requests import PIPELINE_PYTHON, REPOSITORY, make_parameters, make_request
from tests.pipeline.trips import write_trips
from tests.taxi_ml.test_dataflow import SETTINGS

if TYPE_CHECKING:
    from pathlib import Path

MEDIAN = "MEDIAN_OUT_OF_RANGE"
KILOMETRES = tuple(
    Anomaly(
        split=split,
        feature="rawDistance",
        kind=MEDIAN,
        description=f"the median is {median}; the reviewed schema allows 500 to 30000",
    )
    for split, median in ((Split.TRAIN, 2.3), (Split.TEST, 2.4))
)


@pytest.mark.pipeline
def test_broken_trips_end_the_run_before_transform(tmp_path: Path) -> None:
    """A pipeline over kilometres for metres stops in ExampleValidator, which names them; nothing else ran."""
    write_trips(tmp_path / "data")
    for path in (tmp_path / "data").glob("*/trips_*.csv"):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            for row in rows:
                metres = float(row["rawDistance"])
                writer.writerow({**row, "rawDistance": metres / 1000 if metres > 0 else metres})
    request = make_request(tmp_path)
    (tmp_path / "request.json").write_text(request.to_json())
    (tmp_path / "parameters.json").write_text(json.dumps(make_parameters(tmp_path).values(request)))

    ran = subprocess.run(
        [PIPELINE_PYTHON, "-m", "tests.pipeline.run_and_probe", tmp_path / "request.json", tmp_path],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "-1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert ran.returncode != 0
    cause = local_cause(ran.stderr)
    assert "BrokenTripsError: rawDistance MEDIAN_OUT_OF_RANGE (train: the median is " in cause
    assert "test: the median is " in cause
    assert "allowed 500 to 30000" in cause
    made = {path.name for path in (tmp_path / "local_root").iterdir()}
    assert made >= {"CsvExampleGen", "StatisticsGen", "ExampleValidator"}
    assert made.isdisjoint({"Transform", "Tuner", "Trainer", "Evaluator", "Pusher", "Report"})


def test_error_names_splits_feature_kind_observed_and_allowed() -> None:
    """One line has all anomalies, those of a feature and kind together."""
    with pytest.raises(BrokenTripsError) as stopped:
        stop_if_broken(KILOMETRES, policy.load().anomalies)

    assert str(stopped.value).startswith(
        "rawDistance MEDIAN_OUT_OF_RANGE (train: the median is 2.3, test: the median is 2.4, "
        "allowed 500 to 30000). Nothing was trained."
    )
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize(
    "rules",
    [
        policy.AnomalyRules(splits=frozenset(Split), tolerated_kinds=frozenset({MEDIAN})),
        policy.AnomalyRules(splits=frozenset({Split.EVAL}), tolerated_kinds=frozenset()),
        policy.AnomalyRules(splits=frozenset(), tolerated_kinds=frozenset()),
    ],
    ids=["tolerated kind", "another split", "overridden"],
)
def test_anomalies_that_do_not_count_stop_nothing(rules: policy.AnomalyRules) -> None:
    """Kinds and splits that the policy leaves out pass, and all of them if no split counts."""
    stop_if_broken(KILOMETRES, rules)


@pytest.mark.parametrize(
    ("codes", "splits"),
    [([], ["eval", "test", "train"]), (["not_blessed"], ["eval", "test", "train"]), (["data_anomaly"], [])],
)
def test_override_lets_a_run_train(tmp_path: Path, codes: list[str], splits: list[str]) -> None:
    """The run's parameters have the policy's rules, or none for a run that overrides data_anomaly."""
    parameters = RunParameters.of(
        SETTINGS,
        SETTINGS.window(date(2015, 7, 1)),
        champion=None,
        cache_day=None,
        override=Override.of("checked by hand", codes) if codes else None,
    )
    given = json.loads(parameters.values(make_request(tmp_path))[Parameter.ANOMALY_RULES])

    assert given == {
        "splits": splits,
        "tolerated_kinds": sorted(policy.load().anomalies.tolerated_kinds),
    }
