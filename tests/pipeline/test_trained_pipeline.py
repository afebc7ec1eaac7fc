from __future__ import annotations

import contextlib
import csv
import hashlib
import itertools
import json
import math
import os
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
import pytest

from taxi_ml.gate.champion import Champion
from taxi_ml.gate.metrics import Role
from taxi_ml.gate.report import parse
from taxi_ml.modules.features import COORDINATES, DISTANCE, INPUTS, NULLABLE_FLOATS
from taxi_ml.sql.columns import DATASET
from tests.pipeline.requests import (
    ANCHOR,
    MODULES,
    PIPELINE_PYTHON,
    REPOSITORY,
    make_parameters,
    make_request,
)
from tests.pipeline.trips import PAIR_AVERAGES, ROWS, write_trips
from tests.serving.servers import serving

pytestmark = [pytest.mark.pipeline, pytest.mark.xdist_group("trained_pipeline")]


METRES = (1.0, *(100.0 * 1.2**step for step in range(34)))
"""Up to 41 km."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pipeline over hand-made trips."""
    folder = tmp_path_factory.mktemp("trained")
    write_trips(folder / "data")
    return folder


@pytest.fixture(scope="module")
def facts(root: Path) -> dict[str, Any]:
    """The results of a whole pipeline that TFX itself ran."""
    request = make_request(root)
    (root / "request.json").write_text(request.to_json())
    anchor = Champion(name=ANCHOR.name, uri=f"{root}/anchor")
    values = make_parameters(root, anchor=anchor).values(request)
    (root / "parameters.json").write_text(json.dumps(values))
    with (root / "run.log").open("wb") as log:
        subprocess.run(
            [PIPELINE_PYTHON, "-m", "tests.pipeline.run_and_probe", root / "request.json", root],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "-1"},
            check=True,
            stdout=log,
            stderr=log,
            timeout=500,
        )
    found: dict[str, Any] = json.loads((root / "facts.json").read_text())
    return found


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


def test_served_predictions_are_the_evaluated_ones(facts: dict[str, Any], root: Path) -> None:
    """The server answers raw JSON as the Evaluator's signature answers the same test rows."""
    with (root / "data/test/trips_000000000000.csv").open() as file:
        rows = list(csv.DictReader(file))
    instances = [_instance(row) for row in rows]

    with serving(facts["model"]) as url:
        served = _predict(url, instances)

    assert served == pytest.approx([facts["predictions"][row["trip_id"]] for row in rows], rel=1e-5)


def test_trip_without_optional_features_gets_a_sane_fare(facts: dict[str, Any]) -> None:
    """With every optional feature missing the fare is finite and one that trips have."""
    required = {name: 0 for name in INPUTS if name not in NULLABLE_FLOATS}
    instance = required | {
        "TripStartYear": 2015, "TripStartMonth": 6, "TripStartDay": 1, "TripStartHour": 9,
        "trip_start_timestamp": 1_433_149_200,
    }  # fmt: skip

    with serving(facts["model"]) as url:
        fare = _predict(url, [instance])[0]

    assert math.isfinite(fare)
    assert 2 < fare < 60


def _test_trips(root: Path, count: int) -> list[dict[str, Any]]:
    with (root / "data/test/trips_000000000000.csv").open() as file:
        return [_instance(row) for row in itertools.islice(csv.DictReader(file), count)]


def test_fare_never_falls_with_the_distance(facts: dict[str, Any], root: Path) -> None:
    """A longer distance, all else equal, costs at most 0.10 USD less; with or without coordinates."""
    unlocated = dict.fromkeys(COORDINATES)
    trips = [*_test_trips(root, 20), *(trip | unlocated for trip in _test_trips(root, 10))]
    asked = [trip | {"rawDistance": metres} for trip in trips for metres in METRES]

    with serving(facts["model"]) as url:
        fares = np.array(_predict(url, asked)).reshape(len(trips), len(METRES))

    assert (np.maximum.accumulate(fares, axis=1) - fares).max() <= 0.1
    assert (fares[:, -1] - fares[:, 0]).min() > 1


def test_fare_never_falls_as_the_drop_off_moves_away(facts: dict[str, Any], root: Path) -> None:
    """On a straight way from the pick-up, a drop-off further away costs at most 0.10 USD less."""
    pickup_x, pickup_y, dropoff_x, dropoff_y = COORDINATES
    trips = [trip for trip in _test_trips(root, 30) if trip[pickup_x] is not None]
    moved = [
        trip
        | {
            DISTANCE: metres,
            dropoff_x: trip[pickup_x] + metres * math.cos(bearing),
            dropoff_y: trip[pickup_y] + metres * math.sin(bearing),
        }
        for trip, bearing in zip(trips, itertools.cycle(range(7)))
        for metres in METRES
    ]

    with serving(facts["model"]) as url:
        fares = np.array(_predict(url, moved)).reshape(len(trips), len(METRES))

    assert (np.maximum.accumulate(fares, axis=1) - fares).max() <= 0.1


def test_clients_without_coordinates_are_answered(facts: dict[str, Any], root: Path) -> None:
    """Requests that leave the coordinates out get fares close to those of the same trips with them."""
    trips = _test_trips(root, 100)
    without = [{name: trip[name] for name in trip if name not in COORDINATES} for trip in trips]

    with serving(facts["model"]) as url:
        differences = np.abs(np.subtract(_predict(url, trips), _predict(url, without)))

    assert 0 < differences.mean() < 1.5
    assert differences.max() < 8


def test_trained_model_refuses_what_its_trips_cannot_have(facts: dict[str, Any], root: Path) -> None:
    """The ranges of the compile request are served with the model, whichever component copied it."""
    with (root / "data/test/trips_000000000000.csv").open() as file:
        instance = _instance(next(csv.DictReader(file))) | {"TripStartHour": 24}

    with serving(facts["model"]) as url, pytest.raises(HTTPError) as refused:
        _predict(url, [instance])

    assert "'TripStartHour' is 24; give an integer from 0 to 23" in refused.value.read().decode()


def test_quote_needs_no_history(facts: dict[str, Any]) -> None:
    """Without averages a trip gets those of the exported table, and its quote says so."""
    averages = {name: value for name, value in PAIR_AVERAGES.items() if name in NULLABLE_FLOATS}
    instance = _trip_without_history()
    own = instance | {name: None if value == -1.0 else value for name, value in averages.items()}

    with serving(facts["model"]) as url:
        quotes = [_predict(url, [asked], details=True)[0] for asked in (instance, own)]
        plain = _predict(url, [instance])

    assert quotes[0]["looked_up"] == ["historical_tripDuration", "historical_tripDistance"]
    assert quotes[1]["looked_up"] == []
    assert quotes[0] | {"looked_up": []} == quotes[1]
    assert plain == [quotes[0]["fare"]]


def test_range_holds_the_fares_of_the_test_month(facts: dict[str, Any], root: Path) -> None:
    """Nine in ten fares of trips that neither training nor calibration saw are from `low` to `high`."""
    with (root / "data/test/trips_000000000000.csv").open() as file:
        rows = list(csv.DictReader(file))

    with serving(facts["model"]) as url:
        quotes = _predict(url, [_instance(row) for row in rows], details=True)
    inside = [
        quote["low"] <= float(row["fare"]) <= quote["high"] for quote, row in zip(quotes, rows, strict=True)
    ]

    assert 0.84 <= sum(inside) / len(inside) <= 0.98
    assert all(3.25 <= quote["low"] <= quote["fare"] <= quote["high"] for quote in quotes)


def test_extremes_are_those_of_the_training_rows(facts: dict[str, Any]) -> None:
    """Beyond the training rows a trip counts as one at the end of them, and its quote names the feature."""
    asked = _trip_without_history() | {"historical_tripDuration": 600.0}
    extremes = [
        asked | {"rawDistance": 20_000_000},
        asked | {"rawDistance": 200_000},
        asked | {"historical_tripDuration": 1e9},
        asked | {"trip_start_timestamp": asked["trip_start_timestamp"] + 520 * 7 * 86_400},
        asked | {"pickup_census_tract": 77},
    ]

    with serving(facts["model"]) as url:
        quotes = _predict(url, extremes, details=True)

    assert quotes[0] == quotes[1]
    assert [quote["out_of_domain"] for quote in quotes] == [
        ["rawDistance"],
        ["rawDistance"],
        ["historical_tripDuration"],
        ["trip_start_timestamp"],
        ["pickup_census_tract"],
    ]
    assert all(3.25 <= quote["low"] <= quote["fare"] < math.inf for quote in quotes)


def test_signature_itself_holds_floor_and_domain(facts: dict[str, Any]) -> None:
    """The signature that is judged and served has no fare below the lowest, nor one of an endless trip."""
    fares = facts["extremes"]

    assert fares["zero"] >= 3.25
    assert fares["endless history"] == pytest.approx(fares["long history"], rel=1e-5)


def _trip_without_history() -> dict[str, Any]:
    return {
        "TripStartYear": 2015, "TripStartMonth": 6, "TripStartDay": 1, "TripStartHour": 9,
        "TripStartMinute": 0, "pickup_census_tract": 8, "dropoff_census_tract": 28, "rawDistance": 4800.0,
        "trip_start_timestamp": 1_433_149_200,
    }  # fmt: skip


def _instance(row: dict[str, str]) -> dict[str, Any]:
    """Write a trip as a client does: null where the export says -1."""
    values = {name: json.loads(row[name]) for name in DATASET if name not in ("trip_id", "fare")}
    return {name: None if value == -1.0 else value for name, value in values.items()}


def _predict(url: str, instances: list[dict[str, Any]], **parameters: bool) -> list[Any]:
    body = json.dumps({"instances": instances, "parameters": parameters}).encode()
    with urllib.request.urlopen(f"{url}/predict", body, timeout=30) as response:
        predictions: list[Any] = json.load(response)["predictions"]
    return predictions


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
