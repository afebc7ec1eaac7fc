"""The table of pair averages, against what the dataset gives to a trip that starts when the window ends."""

from __future__ import annotations

import csv
import dataclasses
import io
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

from taxi_ml import naming, sql
from taxi_ml.modules.averages import AREAS, NAMES, PairAverages
from taxi_ml.sql import columns
from taxi_ml.window import Window
from tests.taxi_ml.trips import END, HISTORY, WEEK, WINDOW, a_trip, any_trips

if TYPE_CHECKING:
    from collections.abc import Iterable

    from taxi_ml.settings import Settings
    from tests.local_stack import LocalStack
    from tests.taxi_ml.bigquery import BigQuery
    from tests.taxi_ml.trips import Trip

pytestmark = pytest.mark.stack

LATER = Window(end=date(2015, 4, 1), train_months=2, test_months=1)
"""Its dataset has trips that start at END."""

Table = dict[tuple[int, int], tuple[str, ...]]


def exported(bq: BigQuery, stack: LocalStack, chosen: Settings, window: Window = WINDOW) -> Table:
    """Export the averages and read the files as they are; the Trainer's reader must accept them as well."""
    chosen = chosen.with_overrides(bucket=f"gs://taxi-local/{uuid.uuid4().hex}")
    bq.run(sql.export_averages(chosen, window), chosen)
    bucket, prefix = naming.averages_uri(chosen, window).removeprefix("gs://").split("/", 1)
    blobs = stack.storage_client().list_blobs(bucket, prefix=prefix.removesuffix("*.csv"))
    files = [blob.download_as_text() for blob in blobs]
    rows = [row for text in files for row in csv.DictReader(io.StringIO(text))]
    found = {(int(row[AREAS[0]]), int(row[AREAS[1]])): tuple(row[name] for name in NAMES) for row in rows}
    if not len(found) == len(rows) == len(PairAverages.read(map(io.StringIO, files))):
        raise ValueError(f"{len(rows)} rows are about {len(found)} pairs")
    return found


def probes(trips: Iterable[Trip]) -> list[Trip]:
    """Return a trip between each pair of areas that starts at END."""
    asked = {trip.pair: trip for trip in trips}
    return [
        dataclasses.replace(
            a_trip(f"probe {number}", END),
            pickup_census_tract=trip.pickup_census_tract,
            dropoff_census_tract=trip.dropoff_census_tract,
            pickup_community_area=trip.pickup_community_area,
            dropoff_community_area=trip.dropoff_community_area,
        )
        for number, trip in enumerate(asked.values())
    ]


def given_to_probes(bq: BigQuery, chosen: Settings) -> Table:
    """Return the averages of trips that start at END in the later dataset, written as an export does."""
    rows = [row for key, row in bq.dataset(chosen, LATER).items() if key.startswith("probe")]
    found = {
        (row[AREAS[0]] or 0, row[AREAS[1]] or 0): tuple(
            f"{-1.0 if row[name] is None else row[name]:.6f}" for name in NAMES
        )
        for row in rows
    }
    return {pair: averages for pair, averages in found.items() if averages != ("-1.000000",) * len(NAMES)}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trips=any_trips())
def test_averages_are_those_of_a_trip_at_the_windows_end(
    bq: BigQuery, stack: LocalStack, trips: list[Trip]
) -> None:
    """The table has what the dataset would give to a trip between the same areas that starts at the end."""
    known = [trip for trip in trips if trip.trip_start_timestamp < END]
    chosen = bq.with_trips([*known, *probes(known)])

    assert exported(bq, stack, chosen) == given_to_probes(bq, chosen)


def test_frames_end_before_the_window_does(bq: BigQuery, stack: LocalStack) -> None:
    """Both bounds are exact, and a trip on the road has not ended."""
    microsecond = timedelta(microseconds=1)
    quarter = timedelta(minutes=15)
    ends = {
        1.0: END - HISTORY - microsecond,
        2.0: END - HISTORY,
        3.0: END - WEEK - microsecond,
        4.0: END - WEEK,
        5.0: END - microsecond,
        6.0: END,
    }
    trips = [a_trip(f"{miles}", end - quarter, miles=miles) for miles, end in ends.items()]
    found = exported(bq, stack, bq.with_trips(trips))

    assert found == {(8, 32): ("900.000000", "900.000000", "3.500000", "4.500000")}


def test_unknown_areas_are_a_pair(bq: BigQuery, stack: LocalStack) -> None:
    """Trips without areas have the averages of each other, under the 0 that a request sends for unknown."""
    trip = dataclasses.replace(
        a_trip("one", END - timedelta(days=10), miles=0.0),
        pickup_community_area=None,
        dropoff_community_area=None,
    )

    assert exported(bq, stack, bq.with_trips([trip])) == {
        (0, 0): ("900.000000", "-1.000000", "-1.000000", "-1.000000")
    }


def test_real_pairs_have_a_years_averages(bq: BigQuery, stack: LocalStack) -> None:
    """Of the real trips a third of the possible pairs have a history, and fewer one of a week."""
    chosen = bq.settings.with_overrides(history_months=12)
    found = exported(bq, stack, chosen, Window(end=date(2015, 7, 1), train_months=24, test_months=1))
    of_the_week = [pair for pair, averages in found.items() if averages[1] != "-1.000000"]

    assert 300 < len(found) < 77 * 77
    assert 20 < len(of_the_week) < len(found) / 2


def test_existing_table_gives_its_newest_averages(
    bq: BigQuery, stack: LocalStack, real_settings: Settings
) -> None:
    """Of a table that came with averages each pair has those of its newest trip, a week's only for a week."""
    rows = bq.dataset(real_settings)
    source = f"taxi-local.{bq.settings.dataset}.with_averages"
    table = naming.dataset_table(real_settings, WINDOW)
    bq.client.query(f"CREATE OR REPLACE TABLE `{source}` AS SELECT * FROM `{table}`").result()
    chosen = real_settings.with_overrides(source_table=source)
    bq.dataset(chosen)
    newest: dict[tuple[int, int], dict[str, Any]] = {}
    for _, row in sorted(rows.items(), key=lambda item: item[0], reverse=True):
        pair = (row[AREAS[0]] or 0, row[AREAS[1]] or 0)
        if pair not in newest or row["trip_start_timestamp"] >= newest[pair]["trip_start_timestamp"]:
            newest[pair] = row
    expected = {
        pair: tuple(
            "-1.000000"
            if row[name] is None
            or (name.startswith("histOneWeek") and row["trip_start_timestamp"] < END - WEEK)
            else f"{row[name]:.6f}"
            for name in NAMES
        )
        for pair, row in newest.items()
        if row["trip_start_timestamp"] >= datetime(2015, 3, 1, tzinfo=UTC) - HISTORY
    }

    assert exported(bq, stack, chosen) == expected


def test_the_table_is_read_by_its_columns() -> None:
    """The statements write the columns that the Trainer and the server read."""
    assert {column.name for column in columns.AVERAGES} == {*AREAS, *NAMES}
