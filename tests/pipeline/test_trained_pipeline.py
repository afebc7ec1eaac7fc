from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import math
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from taxi_ml.gate.metrics import Role
from taxi_ml.gate.report import parse
from taxi_ml.sql.columns import DATASET
from tests.pipeline.requests import (
    ANCHOR,
    MODULES,
)
from tests.pipeline.trips import ROWS

pytestmark = [pytest.mark.pipeline, pytest.mark.xdist_group("trained_pipeline")]


def test_transformed_label_is_dollars(facts: dict[str, Any], root: Path) -> None:
    """The mean fare of the transformed examples is the mean fare of the trips."""
    with (root / "data/train/trips_000000000000.csv").open() as file:
        fares = [float(row["fare"]) for row in csv.DictReader(file)]

    assert facts["transformed_label_mean"] == pytest.approx(sum(fares) / len(fares), rel=1e-5)


def test_label_moves_nothing_but_itself(facts: dict[str, Any]) -> None:
    """Changing a trip's fare changes no input of the model."""
    assert facts["moved_by_the_label"] == ["fare"]


def test_absent_value_is_the_mean_and_flagged(facts: dict[str, Any]) -> None:
    """An optional feature that is missing reads as the mean, which is 0, never as a small value."""
    found = facts["absences"]

    assert found["absent"] > 0
    assert found["flagged"]
    assert found["largest_imputed"] < 1e-6
    assert found["smallest_spread_of_present"] > 0.1


def test_prediction_needs_no_label(facts: dict[str, Any]) -> None:
    """A trip without a fare gets the same prediction."""
    assert facts["unlabelled"] == facts["as_is"]


def test_inputs_are_the_columns_without_label_and_identifier(facts: dict[str, Any]) -> None:
    """Neither the label nor a split is among the model's inputs, raw or transformed."""
    probe = "import json, features as f; print(json.dumps([f.INPUTS, [*f.TRANSFORMED, f.RAW, f.LABEL]]))"
    inputs, transformed = json.loads(
        subprocess.run(
            [sys.executable, "-c", probe], cwd=MODULES, check=True, capture_output=True, text=True
        ).stdout
    )

    assert sorted(inputs) == sorted(set(DATASET) - {"fare", "trip_id"})
    assert facts["transformed_features"] == sorted(transformed)


def test_gate_reads_the_report(facts: dict[str, Any]) -> None:
    """The gate parses the component's report, with the rows of every split."""
    report = parse(json.dumps(facts["report"]), window="2015-07_train24_test1")

    assert {split: getattr(report.rows, split) for split in ROWS} == ROWS


def test_report_names_the_rows_by_their_fingerprint(facts: dict[str, Any], root: Path) -> None:
    """The data's hash is that of the fingerprint on the examples' artifact, which the gate passes on."""
    with contextlib.closing(sqlite3.connect(root / "metadata.db")) as store:
        query = "SELECT string_value FROM ArtifactProperty WHERE name = 'input_fingerprint'"
        ((fingerprint,),) = store.execute(query)

    assert facts["report"]["hashes"]["data"] == hashlib.sha256(fingerprint.encode()).hexdigest()


def test_lost_fingerprint_leaves_the_files(facts: dict[str, Any]) -> None:
    """Without a fingerprint the data's hash is another one, and sees every split's files."""
    digests = facts["digests"]

    assert digests["fingerprint"] == hashlib.sha256(b"split:train,lines:3").hexdigest()
    assert len(set(digests.values())) == len(digests)


def test_report_agrees_with_the_evaluator(facts: dict[str, Any]) -> None:
    """Our scores of the test rows are TFMA's."""
    metrics = facts["report"]["challenger"]["metrics"]

    assert (metrics["rmse"], metrics["mae"]) == pytest.approx(
        (facts["evaluator"]["root_mean_squared_error"], facts["evaluator"]["mean_absolute_error"]), rel=1e-5
    )
    assert metrics["count"] == facts["evaluator"]["example_count"] == ROWS["test"]


def test_report_compares_with_the_anchor(facts: dict[str, Any], root: Path) -> None:
    """The anchor is named, and its errors are those of its answers, 10 USD, on the test trips."""
    report = parse(json.dumps(facts["report"]))
    anchor, ours = report.reference(Role.ANCHOR), report.challenger.metrics.mae or 0.0
    with (root / "data/test/trips_000000000000.csv").open() as file:
        errors = [abs(float(row["fare"]) - 10) for row in csv.DictReader(file)]
    mean = sum(errors) / len(errors)

    assert anchor is not None
    assert anchor.difference is not None
    assert (anchor.name, anchor.uri) == (ANCHOR.name, f"{root}/anchor")
    assert anchor.metrics.count == len(errors)
    assert anchor.metrics.mae == pytest.approx(mean, rel=1e-5)
    assert anchor.difference.mae.estimate == pytest.approx(ours - mean, abs=1e-4)


def test_report_compares_with_trees_of_the_same_rows(facts: dict[str, Any], root: Path) -> None:
    """The baseline learned from the train split alone; its errors on the test trips are in the report."""
    baseline = parse(json.dumps(facts["report"])).reference(Role.BASELINE)
    with (root / "data/test/trips_000000000000.csv").open() as file:
        paid = sorted(float(row["fare"]) for row in csv.DictReader(file))

    assert baseline is not None
    assert (baseline.name, baseline.uri, baseline.metrics.count) == ("boosted trees", "", ROWS["test"])
    assert baseline.metrics.mean_prediction == pytest.approx(sum(facts["baseline"]) / len(paid), rel=1e-9)
    assert baseline.metrics.mae == pytest.approx(1.0, abs=0.6)


def test_each_slice_has_the_baseline(facts: dict[str, Any]) -> None:
    """Every slice says how the trees did on its rows; together the distances' slices make up all rows."""
    report = parse(json.dumps(facts["report"]))
    baseline = report.reference(Role.BASELINE)
    bands = [each for each in report.slices if each.feature == "distance_km"]
    total = sum((each.baseline.mae or 0) * each.count for each in bands if each.baseline)

    assert baseline is not None
    assert all(each.baseline is not None for each in report.slices)
    assert total / ROWS["test"] == pytest.approx(baseline.metrics.mae)


def test_report_has_the_tuners_trials(facts: dict[str, Any]) -> None:
    """Both trials are in the history, the best first and chosen."""
    tuner = facts["report"]["tuner"]
    scores = [trial["score"] for trial in tuner["history"]]

    assert len(scores) == tuner["trials"] == 2
    assert scores == sorted(scores)
    assert tuner["best_score"] == scores[0]


def test_model_says_what_it_learned_from(facts: dict[str, Any]) -> None:
    """Beside the model lie the shares of each feature's values in the training rows; they sum to 1."""
    learned = json.loads(Path(facts["model"], "assets.extra/training.json").read_text())
    sums = {feature: sum(shares.values()) for feature, shares in learned["profile"].items()}

    assert learned["rows"] == ROWS["train"]
    assert sorted(learned["profile"]["fare"].values()) == pytest.approx([0.1] * 10, abs=0.05)
    assert sums == pytest.approx(dict.fromkeys(learned["layout"], 1.0))


def test_model_is_at_no_distance_from_its_own_training_rows(facts: dict[str, Any]) -> None:
    """A model that is the champion of its own run finds no drift in its training rows."""
    train = [found for found in facts["drift"] if found["split"] == "train"]

    assert {found["feature"] for found in train} >= {"rawDistance", "pickup_census_tract", "fare"}
    assert [found["distance"] for found in train] == pytest.approx([0.0] * len(train), abs=1e-6)
    assert any(found["distance"] > 0 for found in facts["drift"] if found["split"] == "test")


def test_model_has_learned(facts: dict[str, Any]) -> None:
    """The model predicts a taximeter's fares to a dollar or two, while their mean misses by five."""
    assert facts["report"]["challenger"]["metrics"]["mae"] < 2.5


def test_training_is_reproducible_from_its_seed(facts: dict[str, Any]) -> None:
    """The same rows and seed give the same model to the last bit, another seed another one."""
    trained = facts["retrained"]

    assert trained["again"] == trained["once"]
    assert trained["otherwise"] != trained["once"]


def test_training_through_files_is_reproducible(facts: dict[str, Any]) -> None:
    """Rows that do not fit in memory are shuffled through files, by the seed as well."""
    trained = facts["retrained"]

    assert trained["through files again"] == trained["through files"]
    assert trained["through files"] != trained["once"]
    assert all(map(math.isfinite, trained["through files"]))


def test_pushed_copy_is_the_judged_model(facts: dict[str, Any], root: Path) -> None:
    """The report names the model that the Trainer wrote, of which the Pusher has made a copy to serve."""
    (pushed,) = (root / "serving").iterdir()
    judged = Path(facts["report"]["challenger"]["uri"])

    assert judged == Path(facts["model"])
    assert (pushed / "saved_model.pb").read_bytes() == (judged / "saved_model.pb").read_bytes()


def test_trips_have_the_columns_of_the_reviewed_schema(facts: dict[str, Any]) -> None:
    """SchemaGen infers the reviewed columns, and nothing is out of range or unknown too often."""
    assert facts["report"]["schema"] == []
    assert facts["report"]["anomalies"] == {"train": [], "eval": [], "test": []}
