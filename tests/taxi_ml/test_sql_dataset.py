"""The dataset's statements on BigQuery, against a reference that follows each trip by hand."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

from taxi_ml import naming, sql
from taxi_ml.modules import features
from taxi_ml.splits import Split
from taxi_ml.sql import columns
from taxi_ml.window import Window
from tests.taxi_ml.reference import reference_dataset
from tests.taxi_ml.trips import (
    END,
    QUARTER,
    TRAIN_START,
    WEEK,
    WINDOW,
    a_trip,
    any_trips,
    drop_reason,
    expected_dataset,
    rounded,
    without_copies,
)

if TYPE_CHECKING:
    from taxi_ml.settings import Settings
    from tests.local_stack import LocalStack
    from tests.taxi_ml.bigquery import BigQuery
    from tests.taxi_ml.trips import (
        Trip,
    )

pytestmark = pytest.mark.stack


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trips=any_trips())
def test_averages_and_coordinates_are_those_of_the_reference(bq: BigQuery, trips: list[Trip]) -> None:
    """Averages are over trips of the same two areas that had ended, up to 30 and 7 days back.

    Coordinates are metres from a corner, and unknown outside of the box around Chicago.
    """
    rows = bq.dataset(bq.with_trips(trips))
    found = {
        key: {name: rounded(row[name]) for name in features.NULLABLE_FLOATS if name != "rawDistance"}
        for key, row in rows.items()
    }

    assert found == expected_dataset(trips)


def same_averages(one: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> bool:
    """Compare in the other's columns; the order of a sum changes an average by less than a billionth."""
    pairs = [(one.get(key, {}).get(name, -1.0), row[name]) for key, row in other.items() for name in row]
    return one.keys() == other.keys() and all(
        mine == its
        or (isinstance(mine, float) and isinstance(its, float) and math.isclose(mine, its, rel_tol=1e-9))
        for mine, its in pairs
    )


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trips=any_trips())
def test_sums_by_moment_change_no_average(bq: BigQuery, trips: list[Trip]) -> None:
    """Averages over sums by pair and moment are those over single trips, on quarter hours or not."""
    chosen = bq.with_trips(trips)

    assert same_averages(bq.dataset(chosen), bq.rows_of(reference_dataset(chosen, WINDOW), chosen, WINDOW))


@pytest.mark.parametrize("length", [47, 24])
def test_real_trips_have_the_averages_of_the_reference(bq: BigQuery, length: int) -> None:
    """Every real trip, and every trip of a default window, has the averages over single trips."""
    end = {47: date(2017, 1, 1), 24: date(2015, 7, 1)}[length]
    window = Window(end=end, train_months=length, test_months=1)
    chosen = bq.settings.with_overrides(history_months=12)

    built = bq.dataset(chosen, window)

    assert len(built) > 9000
    assert same_averages(built, bq.rows_of(reference_dataset(chosen, window), chosen, window))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trips=any_trips())
def test_every_dropped_trip_is_counted_under_its_first_reason(bq: BigQuery, trips: list[Trip]) -> None:
    """The counts by reason and the kept trips add up to the trips in the window."""
    (row,) = bq.run(sql.count_dropped(bq.with_trips(trips), WINDOW))
    counts = sql.DroppedTrips.from_row(row)
    inside = [trip for trip in trips if TRAIN_START <= trip.trip_start_timestamp < END]
    reasons = [drop_reason(trip) for trip in inside]
    kept = len(without_copies(inside))
    expected = {reason: reasons.count(reason) for reason in reasons if reason is not None}
    if copies := reasons.count(None) - kept:
        expected["duplicate_id"] = copies

    assert (counts.scanned, counts.kept) == (len(inside), kept)
    assert counts.by_reason() == expected


def test_trip_on_the_road_is_not_seen(bq: BigQuery) -> None:
    """A trip that ends at the moment another starts, or later, is not in that one's averages."""
    asking = a_trip("asking", TRAIN_START + timedelta(hours=2))
    ends_at_start = a_trip("tie", asking.trip_start_timestamp - QUARTER)
    overlaps = a_trip("overlap", asking.trip_start_timestamp - timedelta(minutes=5))
    row = bq.dataset(bq.with_trips([asking, ends_at_start, overlaps]))["asking"]

    assert row["historical_tripDuration"] is None


def test_week_reaches_back_to_the_same_moment(bq: BigQuery) -> None:
    """A trip that ended exactly 604,800 seconds before counts, one microsecond earlier does not."""
    asking = a_trip("asking", TRAIN_START + timedelta(days=10))
    at_bound = a_trip("at_bound", asking.trip_start_timestamp - WEEK - QUARTER, miles=2.0)
    earlier = a_trip("earlier", at_bound.trip_start_timestamp - timedelta(microseconds=1), miles=8.0)
    row = bq.dataset(bq.with_trips([asking, at_bound, earlier]))["asking"]

    assert (row["histOneWeek_tripDistance"], row["historical_tripDistance"]) == (2.0, 5.0)


@pytest.mark.parametrize("key", [None, "", " "])
def test_an_empty_id_is_a_missing_one(bq: BigQuery, key: str | None) -> None:
    """A trip whose id is NULL, empty or blank is left out and counted."""
    trips = [a_trip("kept", TRAIN_START), dataclasses.replace(a_trip("", TRAIN_START), unique_key=key)]
    chosen = bq.with_trips(trips)
    (row,) = bq.run(sql.count_dropped(chosen, WINDOW))

    assert sql.DroppedTrips.from_row(row).by_reason() == {"missing_id": 1}
    assert bq.dataset(chosen).keys() == {"kept"}


@pytest.mark.parametrize(
    "point",
    [
        {"pickup_latitude": 0.0, "pickup_longitude": 0.0},
        {"dropoff_latitude": 0.0, "dropoff_longitude": 0.0},
        {"pickup_latitude": 0.0, "pickup_longitude": 0.0, "dropoff_latitude": 0.0, "dropoff_longitude": 0.0},
        {"pickup_latitude": 91.0},
        {"dropoff_latitude": -90.5},
        {"pickup_longitude": 500.0},
        {"dropoff_longitude": -180.5},
    ],
)
def test_impossible_coordinates_make_no_distance(bq: BigQuery, point: dict[str, Any]) -> None:
    """A trip from or to 0,0, or a place off the globe, is kept without its distance and counted."""
    trips = [a_trip("located", TRAIN_START), dataclasses.replace(a_trip("lost", TRAIN_START), **point)]
    chosen = bq.with_trips(trips)
    (row,) = bq.run(sql.count_dropped(chosen, WINDOW))
    counts = sql.DroppedTrips.from_row(row)

    lost = bq.dataset(chosen)["lost"]

    assert (counts.kept, counts.impossible_coordinates, counts.by_reason()) == (2, 1, {})
    assert lost["rawDistance"] is None
    assert None in {lost["pickup_x"], lost["dropoff_x"]}


def test_points_further_apart_than_a_trip_may_be_drop_it(bq: BigQuery) -> None:
    """The distance between the coordinates has the bound that the meter's miles have."""
    near = dataclasses.replace(a_trip("near", TRAIN_START), dropoff_latitude=43.3)
    far = dataclasses.replace(a_trip("far", TRAIN_START), dropoff_latitude=43.4)
    later = a_trip("later", TRAIN_START + timedelta(days=1), miles=2.5)
    chosen = bq.with_trips([near, far, later])
    (row,) = bq.run(sql.count_dropped(chosen, WINDOW))
    rows = bq.dataset(chosen)

    assert sql.DroppedTrips.from_row(row).by_reason() == {"distance_too_long": 1}
    assert set(rows) == {"near", "later"}
    assert rows["later"]["historical_tripDistance"] == 1.5


def test_copies_change_nothing(bq: BigQuery) -> None:
    """With every real trip three times the dataset is the same, and two of each three count as duplicates."""
    table = f"taxi-local.{bq.settings.dataset}.thrice"
    bq.client.query(
        f"CREATE TABLE `{table}` AS SELECT trips.* FROM `{bq.settings.trips_table}` AS trips "
        "CROSS JOIN UNNEST([1, 2, 3])"
    ).result()
    thrice = bq.settings.with_overrides(trips_table=table)
    (row,) = bq.run(sql.count_dropped(thrice, WINDOW))
    counts = sql.DroppedTrips.from_row(row)
    once = bq.dataset(bq.settings)

    assert bq.dataset(thrice) == once
    assert (counts.kept, counts.by_reason()["duplicate_id"]) == (len(once), 2 * len(once))


def test_the_latest_of_two_trips_with_an_id_is_kept(bq: BigQuery) -> None:
    """One of several trips with the same id is kept: the latest valid one."""
    later = TRAIN_START + timedelta(days=1)
    wrong = dataclasses.replace(a_trip("one", later + timedelta(days=1)), fare=None)
    rows = bq.dataset(bq.with_trips([a_trip("one", TRAIN_START), wrong, a_trip("one", later)]))

    assert [row["trip_start_timestamp"] for row in rows.values()] == [later]


def test_days_on_which_trips_start_are_listed(bq: BigQuery) -> None:
    """Each day of the window's table is listed once, by the trips' own wall clock."""
    starts = [TRAIN_START, TRAIN_START + timedelta(hours=23, minutes=45), END - QUARTER]
    chosen = bq.with_trips([a_trip(f"{start}", start) for start in starts])
    bq.dataset(chosen)
    rows = bq.run(sql.list_days(chosen, WINDOW))

    assert [row["day"] for row in rows] == [date(2015, 1, 1), date(2015, 2, 28)]


def test_unrecorded_miles_are_no_distance(bq: BigQuery) -> None:
    """A trip of 0 miles is kept and does not lower the average distance."""
    asking = a_trip("asking", TRAIN_START + timedelta(days=1))
    zero = a_trip("zero", TRAIN_START, miles=0.0)
    three = a_trip("three", TRAIN_START, miles=3.0)
    rows = bq.dataset(bq.with_trips([asking, zero, three]))

    assert (rows["asking"]["historical_tripDistance"], len(rows)) == (3.0, 3)


def test_columns_are_those_of_the_product(bq: BigQuery) -> None:
    """The dataset has the columns that features are made of, with parts of the local time and meters."""
    start = datetime(2015, 2, 27, 23, 45, tzinfo=UTC)
    row = bq.dataset(bq.with_trips([a_trip("one", start, tract=17031081500)]))["one"]

    assert set(row) == set(columns.DATASET)
    assert row == row | {
        "trip_id": "one",
        "TripStartYear": 2015,
        "TripStartMonth": 2,
        "TripStartDay": 27,
        "TripStartHour": 23,
        "TripStartMinute": 45,
        "pickup_census_tract": 17031081500,
        "dropoff_census_tract": 32,
        "fare": 7.25,
        "historical_tripDuration": None,
        "histOneWeek_tripDuration": None,
        "historical_tripDistance": None,
        "histOneWeek_tripDistance": None,
        "rawDistance": pytest.approx(26359.9, abs=1),
        "pickup_x": pytest.approx(115_868.2),
        "pickup_y": pytest.approx(100_075.5),
        "dropoff_x": pytest.approx(91_039.3),
        "dropoff_y": pytest.approx(108_971.1),
        "trip_start_timestamp": start,
    }


def exported(
    bq: BigQuery, stack: LocalStack, chosen: Settings, split: Split, share: float = 1.0
) -> list[dict[str, str]]:
    """Export one split and read its files back from Cloud Storage."""
    bq.run(sql.export_split(chosen, WINDOW, split, share=share), chosen)
    bucket, prefix = naming.split_uri(chosen, WINDOW, split).removeprefix("gs://").split("/", 1)
    blobs = stack.storage_client().list_blobs(bucket, prefix=prefix.removesuffix("*.csv"))
    return [row for blob in blobs for row in csv.DictReader(io.StringIO(blob.download_as_text()))]


def test_splits_are_disjoint_and_complete(bq: BigQuery, stack: LocalStack, real_settings: Settings) -> None:
    """Every trip of the dataset is exported in one split, and `count_splits` counts what is exported."""
    ids = {split: [row["trip_id"] for row in exported(bq, stack, real_settings, split)] for split in Split}
    (row,) = bq.run(sql.count_splits(real_settings, WINDOW))
    counts = sql.SplitCounts.from_row(row)
    all_ids = [trip_id for split in Split for trip_id in ids[split]]

    assert (counts.train, counts.eval, counts.test) == tuple(len(ids[split]) for split in Split)
    assert len(set(all_ids)) == len(all_ids) == len(bq.dataset(real_settings))


def test_test_split_is_the_test_months(bq: BigQuery, stack: LocalStack, real_settings: Settings) -> None:
    """Test trips start in the test months, train and eval trips before."""
    first = datetime(2015, 2, 1, tzinfo=UTC).timestamp()
    later = {
        split: {
            float(row["trip_start_timestamp"]) >= first for row in exported(bq, stack, real_settings, split)
        }
        for split in Split
    }

    assert later == {Split.TRAIN: {False}, Split.EVAL: {False}, Split.TEST: {True}}


def test_exported_columns_never_change_type(bq: BigQuery, stack: LocalStack, real_settings: Settings) -> None:
    """Integers have digits only, floats always have a point, nothing is empty, absent floats are negative."""
    rows = exported(bq, stack, real_settings, Split.EVAL)
    integers = (*features.CALENDAR, *features.AREAS, features.TIMESTAMP)
    floats = (features.LABEL, *features.NULLABLE_FLOATS)

    assert rows[0].keys() == {features.IDENTIFIER, *integers, *floats}
    assert all(row[name].isdigit() for row in rows for name in integers)
    assert all("." in row[name] for row in rows for name in floats)
    assert all(float(row[name]) >= 0 or float(row[name]) == -1 for row in rows for name in floats)


def test_trip_has_the_same_features_in_every_window(bq: BigQuery) -> None:
    """A month that two windows of real trips share has the same rows in both."""
    january = bq.dataset(bq.settings, Window(end=date(2015, 3, 1), train_months=1, test_months=1))
    earlier = bq.dataset(bq.settings, Window(end=date(2015, 2, 1), train_months=3, test_months=1))
    shared = january.keys() & earlier.keys()

    assert len(shared) > 200
    assert {key: january[key] for key in shared} == {key: earlier[key] for key in shared}


def test_existing_table_is_used_instead(bq: BigQuery, real_settings: Settings) -> None:
    """With `source_table` the window is selected unchanged from a table of the dataset's columns."""
    built = bq.dataset(real_settings)
    given_table = f"taxi-local.{bq.settings.dataset}.given"
    table = naming.dataset_table(real_settings, WINDOW)
    bq.client.query(f"CREATE OR REPLACE TABLE `{given_table}` AS SELECT * FROM `{table}`").result()
    chosen = real_settings.with_overrides(source_table=given_table, history_months=7)

    assert bq.dataset(chosen) == built


def test_existing_table_may_lack_coordinates(
    bq: BigQuery, stack: LocalStack, real_settings: Settings
) -> None:
    """A table of the dataset's columns as they were without coordinates gives trips that lack only these."""
    built = bq.dataset(real_settings)
    given_table = f"taxi-local.{bq.settings.dataset}.unlocated"
    table = naming.dataset_table(real_settings, WINDOW)
    absent = columns.OPTIONAL
    bq.client.query(
        f"CREATE TABLE `{given_table}` AS SELECT * EXCEPT ({', '.join(sorted(absent))}) FROM `{table}`"
    ).result()
    chosen = real_settings.with_overrides(source_table=given_table)
    rows = bq.rows_of(sql.build_dataset(chosen, WINDOW, absent=absent), chosen, WINDOW)
    (counted,) = bq.run(sql.count_dropped(chosen, WINDOW, absent=absent))
    written = exported(bq, stack, chosen, Split.TEST)
    bq.dataset(real_settings)

    assert rows == {key: row | dict.fromkeys(absent) for key, row in built.items()}
    assert counted["kept"] == len(built)
    assert {row[name] for row in written for name in absent} == {"-1.000000"}


def test_existing_table_loses_impossible_rows(bq: BigQuery, real_settings: Settings) -> None:
    """Rows of an existing table with a fare out of bounds are left out and counted."""
    chosen = real_settings.with_overrides(
        source_table=naming.dataset_table(real_settings, WINDOW), max_fare_usd=5
    )
    (row,) = bq.run(sql.count_dropped(chosen, WINDOW))
    counts = sql.DroppedTrips.from_row(row)

    assert counts.by_reason() == {"fare_too_high": counts.scanned - counts.kept}
    assert counts.kept > 0


def test_existing_table_loses_copies_and_empty_ids(bq: BigQuery, real_settings: Settings) -> None:
    """One of the rows with the same id in an existing table is kept, and none without an id."""
    built = bq.dataset(real_settings)
    given_table = f"taxi-local.{bq.settings.dataset}.damaged"
    table = naming.dataset_table(real_settings, WINDOW)
    bq.client.query(
        f"CREATE TABLE `{given_table}` AS SELECT * FROM `{table}` UNION ALL SELECT * FROM `{table}` "
        f"UNION ALL SELECT * REPLACE ('' AS trip_id) FROM `{table}`"
    ).result()
    chosen = real_settings.with_overrides(source_table=given_table)
    (row,) = bq.run(sql.count_dropped(chosen, WINDOW))
    counts = sql.DroppedTrips.from_row(row)

    assert bq.dataset(chosen) == built
    assert counts.by_reason() == {"missing_id": len(built), "duplicate_id": len(built)}


def test_rerun_replaces_the_dataset(bq: BigQuery, real_settings: Settings) -> None:
    """Building a window twice leaves the same rows."""
    assert bq.dataset(real_settings) == bq.dataset(real_settings)
