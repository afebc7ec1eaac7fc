"""Duplicates and days without trips, without a server."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxi_ml import sql
from taxi_ml.settings import Settings
from taxi_ml.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW = Window(end=date(2015, 4, 1), train_months=2, test_months=1)
DAYS = [WINDOW.train_start + timedelta(days=number) for number in range(90)]
SETTINGS = Settings(project="taxi-local", bucket="gs://taxi-local", pipeline_image="taxi:1")
NO_COPIES = sql.DroppedTrips.from_row(
    dict.fromkeys((field.name for field in dataclasses.fields(sql.DroppedTrips)), 0)
    | {"scanned": 1000, "kept": 1000}
)


def without(first: date, last: date) -> sql.EmptyDays:
    """Return the empty days of a window without trips from one day to another."""
    return sql.EmptyDays.of([day for day in DAYS if not first <= day <= last], WINDOW)


@given(st.sets(st.sampled_from(DAYS)))
def test_every_day_has_trips_or_is_in_one_place(seen: set[date]) -> None:
    """Days with trips and the empty ones before, between and after them are the window, each once."""
    empty = sql.EmptyDays.of(seen, WINDOW)

    assert sorted([*seen, *empty.before, *empty.between, *empty.at_end]) == DAYS
    assert all(day < min(seen, default=WINDOW.end) for day in empty.before)
    assert all(day > max(seen) for day in empty.at_end)


def test_a_window_with_trips_on_every_day_is_complete() -> None:
    """The line of a complete window says that nothing is missing."""
    empty = sql.EmptyDays.of(DAYS, WINDOW)

    sql.require_complete(NO_COPIES, empty, SETTINGS)
    assert empty.describe() == "Days without trips: none"


def test_empty_days_are_told_as_periods() -> None:
    """Consecutive days are named by the first and the last, with their place in the window."""
    missing = {date(2015, 1, 1), date(2015, 2, 1), date(2015, 2, 2), date(2015, 2, 9), date(2015, 3, 31)}
    empty = sql.EmptyDays.of(set(DAYS) - missing, WINDOW)

    assert empty.describe() == (
        "Days without trips: before the first: 2015-01-01 (1 day); "
        "in between: 2015-02-01 to 2015-02-02, 2015-02-09 (3 days); after the last: 2015-03-31 (1 day)"
    )


def test_a_table_may_begin_inside_the_window() -> None:
    """Days before the first trip are reported and are not a reason to stop."""
    empty = without(date(2015, 1, 1), date(2015, 1, 31))

    sql.require_complete(NO_COPIES, empty, SETTINGS)
    assert "before the first: 2015-01-01 to 2015-01-31 (31 days)" in empty.describe()


def test_too_many_days_without_trips_stop_a_run() -> None:
    """The error names the days, the limit and the setting; as many as the limit are accepted."""
    sql.require_complete(NO_COPIES, without(date(2015, 2, 1), date(2015, 2, 7)), SETTINGS)
    with pytest.raises(sql.DamagedTripsError, match=r"2015-02-01 to 2015-02-08 \(8 days\)") as stopped:
        sql.require_complete(NO_COPIES, without(date(2015, 2, 1), date(2015, 2, 8)), SETTINGS)

    assert "TAXI_MAX_DAYS_WITHOUT_TRIPS)" in str(stopped.value)


def test_a_test_month_that_stops_early_stops_a_run() -> None:
    """The error names the days after the last trip; as many as the limit are accepted."""
    sql.require_complete(NO_COPIES, without(date(2015, 3, 31), date(2015, 3, 31)), SETTINGS)
    with pytest.raises(sql.DamagedTripsError, match=r"2015-03-30 to 2015-03-31 \(2 days\)") as stopped:
        sql.require_complete(NO_COPIES, without(date(2015, 3, 30), date(2015, 3, 31)), SETTINGS)

    assert "TAXI_MAX_DAYS_WITHOUT_TRIPS_AT_END" in str(stopped.value)


def test_too_many_copies_stop_a_run() -> None:
    """The error has the number of copies and the limit; as many as the limit are accepted."""
    none = sql.EmptyDays.of(DAYS, WINDOW)
    sql.require_complete(dataclasses.replace(NO_COPIES, duplicate_id=10), none, SETTINGS)
    with pytest.raises(sql.DamagedTripsError, match="11 of 1000 trips have the id of another") as stopped:
        sql.require_complete(dataclasses.replace(NO_COPIES, duplicate_id=11), none, SETTINGS)

    assert "TAXI_MAX_DUPLICATE_PERCENT" in str(stopped.value)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    """One error has every limit that is exceeded."""
    seen = set(DAYS) - set(DAYS[10:20]) - set(DAYS[-5:])
    with pytest.raises(sql.DamagedTripsError) as stopped:
        sql.require_complete(
            dataclasses.replace(NO_COPIES, duplicate_id=600), sql.EmptyDays.of(seen, WINDOW), SETTINGS
        )

    assert str(stopped.value).count("TAXI_") == 3


def arrived(newest: date | None) -> sql.Arrival:
    """Return the arrival of March's trips, by the day of the newest one."""
    return sql.Arrival(table="p.d.trips", window=WINDOW, newest=newest)


MIDNIGHT = datetime(2015, 4, 1, tzinfo=UTC)
WAITING = SETTINGS.with_overrides(wait_days=7)


def refused(error: type[Exception], check: Callable[[], object]) -> bool:
    """Return whether a check raises its error."""
    try:
        check()
    except error:
        return True
    return False


@given(st.dates(WINDOW.test_start, WINDOW.end - timedelta(days=1)), st.integers(0, 40))
def test_nothing_is_waited_for_that_a_run_can_do_without(newest: date, limit: int) -> None:
    """The wait ends exactly where the days without trips at the end are few enough for the rows' check."""
    settings = SETTINGS.with_overrides(max_days_without_trips_at_end=limit, wait_days=0)
    empty = sql.EmptyDays.of([day for day in DAYS if day <= newest], WINDOW)

    assert refused(
        sql.DamagedTripsError, lambda: sql.require_complete(NO_COPIES, empty, settings)
    ) == refused(sql.MissingTripsError, lambda: sql.waits_until(arrived(newest), settings, MIDNIGHT))


@pytest.mark.parametrize(
    ("newest", "now", "until"),
    [
        (date(2015, 3, 30), MIDNIGHT, None),
        (date(2015, 3, 29), MIDNIGHT, MIDNIGHT + timedelta(days=7)),
        (None, MIDNIGHT + timedelta(days=6, hours=23), MIDNIGHT + timedelta(days=7)),
        (date(2015, 3, 30), MIDNIGHT + timedelta(days=400), None),
    ],
)
def test_trips_are_waited_for_up_to_a_day_that_the_window_has(
    newest: date | None, now: datetime, until: datetime | None
) -> None:
    """The deadline follows from the window, whenever the run began; complete months never wait."""
    assert sql.waits_until(arrived(newest), WAITING, now) == until


@pytest.mark.parametrize(
    ("newest", "now", "days", "words"),
    [
        (
            date(2015, 3, 12),
            MIDNIGHT + timedelta(days=7),
            7,
            "the newest is of 2015-03-12. 19 days at the end are missing, and the deadline for them was",
        ),
        (
            None,
            MIDNIGHT,
            0,
            "31 days at the end are missing, and the deadline for them was 2015-04-01",
        ),
        (None, MIDNIGHT - timedelta(hours=1), 7, "the window ends on 2015-04-01, which is in the future"),
    ],
)
def test_trips_that_do_not_come_are_named(newest: date | None, now: datetime, days: int, words: str) -> None:
    """The error says which trips are missing, why the wait is over, and how to let the run continue."""
    with pytest.raises(sql.MissingTripsError) as stopped:
        sql.waits_until(arrived(newest), SETTINGS.with_overrides(wait_days=days), now)

    assert words in str(stopped.value)
    assert "raise max_days_without_trips_at_end (TAXI_MAX_DAYS_WITHOUT_TRIPS_AT_END)" in str(stopped.value)
