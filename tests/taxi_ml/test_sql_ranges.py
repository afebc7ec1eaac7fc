"""The ranges of the dataset's columns."""

from __future__ import annotations

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxi_ml.modules.features import INPUTS, NULLABLE_FLOATS
from taxi_ml.serving.instances import InstanceContract
from taxi_ml.settings import Settings
from taxi_ml.sql.ranges import ranges
from taxi_ml.window import Window

SETTINGS = Settings(project="taxi-local", bucket="gs://taxi-local", pipeline_image="taxi:1")
WINDOW = Window(end=date(2015, 7, 1), train_months=24, test_months=1)
SOURCE = "taxi-local.taxi.trips"


@given(
    st.builds(
        Window,
        end=st.dates(date(1950, 1, 1)).map(lambda day: day.replace(day=1)),
        train_months=st.integers(1, 240),
        test_months=st.integers(1, 240),
    ),
    st.floats(0.25, 48),
    st.floats(1, 10_000),
    st.sampled_from(["", SOURCE]),
)
def test_ranges_of_any_run_are_a_models_contract(
    window: Window, hours: float, miles: float, source_table: str
) -> None:
    """With any settings and window, the server accepts the ranges, and they include the window's years."""
    chosen = SETTINGS.with_overrides(max_trip_hours=hours, max_trip_miles=miles, source_table=source_table)
    found = ranges(chosen, window)
    features = [
        {
            "name": name,
            "type": "number" if name in NULLABLE_FLOATS else "integer",
            "missing": -1.0 if name in NULLABLE_FLOATS else None,
            "minimum": least,
            "maximum": largest,
        }
        for name, (least, largest) in found.items()
    ]

    text = json.dumps({"features": features, "signature": "s", "prediction": "p"})

    assert {feature.name for feature in InstanceContract.parse(text).features} <= set(INPUTS)
    assert (
        found["TripStartYear"][0] <= window.train_start.year <= window.end.year <= found["TripStartYear"][1]
    )


def test_every_feature_that_the_trips_bound_has_a_range() -> None:
    """All inputs of a dataset that the statements build are bounded, with an allowance."""
    found = ranges(SETTINGS, WINDOW)

    assert set(found) == set(INPUTS)
    assert found["TripStartYear"] == (2003, 2025)
    assert found["trip_start_timestamp"] == (1_041_379_200, 1_735_689_600)
    assert found["historical_tripDuration"] == (0, 43_200)
    assert found["histOneWeek_tripDistance"] == (0, 200)
    assert found["rawDistance"] == (0, 321_868.8)
    assert found["pickup_x"] == found["dropoff_x"] == (0, 165_526)
    assert found["pickup_y"] == found["dropoff_y"] == (0, 222_390)


@pytest.mark.parametrize(
    "name",
    ["pickup_census_tract", "dropoff_census_tract", "historical_tripDistance", "histOneWeek_tripDistance"],
)
def test_what_a_table_of_others_leaves_open_has_no_range(name: str) -> None:
    """A source table may number its areas as it likes, and its statement bounds no average distance."""
    assert name not in ranges(SETTINGS.with_overrides(source_table=SOURCE), WINDOW)
