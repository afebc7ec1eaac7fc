"""Quotes of a model that TFX trained: from the server, and from the signature that it serves."""

from __future__ import annotations

import csv
import itertools
import json
import math
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import numpy as np
import pytest

from taxi_ml.modules.features import COORDINATES, DISTANCE, INPUTS, NULLABLE_FLOATS
from taxi_ml.sql.columns import DATASET
from tests.pipeline.trips import PAIR_AVERAGES
from tests.serving.servers import serving

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.pipeline, pytest.mark.xdist_group("trained_pipeline")]

METRES = (1.0, *(100.0 * 1.2**step for step in range(34)))
"""Up to 41 km."""


def test_served_predictions_are_the_evaluated_ones(facts: dict[str, Any], root: Path) -> None:
    """The server answers raw JSON as the Evaluator's signature answers the same test rows."""
    with (root / "data/test/trips_000000000000.csv").open() as file:
        rows = list(csv.DictReader(file))
    instances = [_instance(row) for row in rows]

    with serving(facts["model"]) as url:
        served = _predict(url, instances)

    assert served == pytest.approx([facts["predictions"][row["trip_id"]] for row in rows], rel=1e-5)


def test_a_mean_is_one_of_networks(facts: dict[str, Any]) -> None:
    """A model that is averaged with a mean is averaged with that one's own network."""
    trained = {name: np.array(fares) for name, fares in facts["retrained"].items()}
    mean = (trained["mean/own"] + trained["once"] + trained["otherwise"]) / 3
    following = (trained["next mean/own"] + trained["mean/own"] + trained["once"]) / 3

    assert trained["mean"] == pytest.approx(mean, rel=1e-5)
    assert trained["next mean"] == pytest.approx(following, rel=1e-5)
    assert np.abs(trained["mean"] - trained["mean/own"]).max() > 0.01


def test_the_mean_is_what_is_served(facts: dict[str, Any], root: Path) -> None:
    """The server answers the mean of the test trips, from a folder with all that a model has."""
    with (root / "data/test/trips_000000000000.csv").open() as file:
        instances = [_instance(row) for row in csv.DictReader(file)]

    with serving(f"{root}/local_root/retrained/mean") as url:
        served = _predict(url, instances)

    assert sorted(served) == pytest.approx(sorted(facts["retrained"]["mean"]), rel=1e-5)


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
