"""The trips of each month, counted in the table that they come from."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest

from taxi_ml import naming, sql
from taxi_ml.months import Usable, choose
from taxi_ml.window import Window
from tests.taxi_ml.trips import END, QUARTER, TRAIN_START, WINDOW, Trip

if TYPE_CHECKING:
    from taxi_ml.settings import Settings
    from tests.taxi_ml.bigquery import BigQuery

pytestmark = pytest.mark.stack
BUNDLED = Window(end=date(2015, 7, 1), train_months=24, test_months=6)


def test_months_have_their_usable_trips(bq: BigQuery) -> None:
    """Trips of the window count, by the month in which they start, if the dataset keeps their fare."""
    starts = [
        TRAIN_START,
        datetime(2015, 1, 31, 23, 45, tzinfo=UTC),
        END - QUARTER,
        TRAIN_START - QUARTER,
        END,
    ]
    trips = [Trip(unique_key=f"{start}", trip_start_timestamp=start) for start in starts]
    unusable = [Trip(trip_start_timestamp=TRAIN_START, fare=fare) for fare in (None, 0.0, 200.0, 1000.0)]
    chosen = bq.with_trips([*trips, *unusable])

    rows = bq.run(sql.count_months(chosen, WINDOW))

    assert [(row["month"], row["trips"], row["newest"]) for row in rows] == [
        (date(2015, 1, 1), 2, date(2015, 1, 31)),
        (date(2015, 2, 1), 1, date(2015, 2, 28)),
    ]


def test_an_existing_table_is_counted(bq: BigQuery, real_settings: Settings) -> None:
    """A table that has the model's columns already has the time and the fare as well."""
    chosen = real_settings.with_overrides(source_table=naming.dataset_table(real_settings, WINDOW))
    (splits,) = bq.run(sql.count_splits(chosen, WINDOW))

    rows = bq.run(sql.count_months(chosen, WINDOW))

    assert [row["trips"] for row in rows] == [splits["train"] + splits["eval"], splits["test"]]


def test_the_bundled_trips_need_more_than_a_month(bq: BigQuery) -> None:
    """Nearly as many trips are counted as the dataset keeps, and one month has too few for the margin."""
    rows = bq.run(sql.count_months(bq.settings, BUNDLED))
    (dropped,) = bq.run(sql.count_dropped(bq.settings, BUNDLED))
    found = Usable(
        by_month={row["month"]: row["trips"] for row in rows}, newest=rows[-1]["newest"], tolerated=1
    )

    choice = choose(BUNDLED, found, wanted=1140, least_train=1000)

    assert dropped["kept"] / sum(found.by_month.values()) == pytest.approx(1, abs=0.05)
    assert (choice.months, 1140 <= choice.rows < 2000) == (3, True)
