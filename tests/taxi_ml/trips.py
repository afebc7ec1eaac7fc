"""Hand-made trips, and a reference that follows each of them by hand."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from taxi_ml.settings import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW = Window(end=date(2015, 3, 1), train_months=1, test_months=1)
TRAIN_START = datetime(2015, 1, 1, tzinfo=UTC)
END = datetime(2015, 3, 1, tzinfo=UTC)
HISTORY = timedelta(days=30)
WEEK = timedelta(days=7)
QUARTER = timedelta(minutes=15)


COLUMN_TYPES = {
    "unique_key": "STRING",
    "trip_start_timestamp": "TIMESTAMP",
    "trip_end_timestamp": "TIMESTAMP",
    "trip_seconds": "INT64",
    "pickup_census_tract": "INT64",
    "dropoff_census_tract": "INT64",
    "pickup_community_area": "INT64",
    "dropoff_community_area": "INT64",
} | dict.fromkeys(
    (
        "trip_miles",
        "fare",
        "pickup_latitude",
        "pickup_longitude",
        "dropoff_latitude",
        "dropoff_longitude",
    ),
    "FLOAT64",
)


@dataclass(frozen=True, kw_only=True)
class Trip:
    """A row of the public table, as far as the dataset reads it."""

    unique_key: str | None = "trip"
    trip_start_timestamp: datetime = TRAIN_START
    trip_end_timestamp: datetime | None = TRAIN_START + QUARTER
    trip_seconds: int | None = 900
    trip_miles: float | None = 1.5
    pickup_census_tract: int | None = None
    dropoff_census_tract: int | None = None
    pickup_community_area: int | None = 8
    dropoff_community_area: int | None = 32
    fare: float | None = 7.25
    pickup_latitude: float | None = 41.9
    pickup_longitude: float | None = -87.6
    dropoff_latitude: float | None = 41.98
    dropoff_longitude: float | None = -87.9

    def json_row(self) -> dict[str, Any]:
        """Return the row as BigQuery's client takes it."""
        values = dataclasses.asdict(self)
        return {key: v.isoformat() if isinstance(v, datetime) else v for key, v in values.items()}

    @property
    def pair(self) -> tuple[int | None, int | None]:
        """Where the trip goes from and to."""
        return (
            self.pickup_community_area if self.pickup_census_tract is None else self.pickup_census_tract,
            self.dropoff_community_area if self.dropoff_census_tract is None else self.dropoff_census_tract,
        )


def a_trip(key: str, start: datetime, *, miles: float = 1.5, tract: int | None = None) -> Trip:
    """Make a plausible trip of a quarter of an hour."""
    return Trip(
        unique_key=key,
        trip_start_timestamp=start,
        trip_end_timestamp=start + QUARTER,
        trip_miles=miles,
        pickup_census_tract=tract,
    )


def drop_reason(trip: Trip) -> str | None:  # noqa: C901, PLR0911  # the list of reasons, in order
    """Say why a trip is left out, as the product's description has it."""
    if trip.unique_key is None:
        return "missing_id"
    if trip.trip_end_timestamp is None or trip.trip_seconds is None:
        return "missing_time"
    if trip.trip_end_timestamp < trip.trip_start_timestamp:
        return "end_before_start"
    if trip.trip_seconds <= 0:
        return "seconds_not_positive"
    if trip.trip_seconds > 6 * 3600:
        return "too_many_seconds"
    between = trip.trip_end_timestamp - trip.trip_start_timestamp
    if abs(between.total_seconds() - trip.trip_seconds) > 1800:
        return "seconds_disagree"
    if trip.fare is None:
        return "missing_fare"
    if trip.fare <= 0:
        return "fare_not_positive"
    if trip.fare >= 200:
        return "fare_too_high"
    if trip.trip_miles is not None and trip.trip_miles < 0:
        return "negative_distance"
    return "distance_too_long" if trip.trip_miles is not None and trip.trip_miles > 100 else None


def averages(trip: Trip, trips: Sequence[Trip]) -> dict[str, float | None]:
    """Average over what had ended before the trip starts, one trip after the other."""
    found: dict[str, float | None] = {}
    for name, back in (("historical", HISTORY), ("histOneWeek", WEEK)):
        start = trip.trip_start_timestamp
        before = [
            other
            for other in trips
            if drop_reason(other) is None
            and other.pair == trip.pair
            and other.trip_end_timestamp is not None
            and start - back <= other.trip_end_timestamp < start
        ]
        found[f"{name}_tripDuration"] = rounded(_mean([other.trip_seconds for other in before]))
        found[f"{name}_tripDistance"] = rounded(_mean([other.trip_miles or None for other in before]))
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def rounded(value: float | None) -> float | None:
    """Forget what the order of a sum can change."""
    return None if value is None else round(value, 9)


def expected_dataset(trips: Sequence[Trip]) -> dict[str, dict[str, float | None]]:
    """Return the averages of every trip that belongs to the window."""
    return {
        str(trip.unique_key): averages(trip, trips)
        for trip in trips
        if drop_reason(trip) is None and TRAIN_START <= trip.trip_start_timestamp < END
    }


STARTS = st.builds(
    lambda days, quarters, micros: (
        TRAIN_START + timedelta(days=days, microseconds=micros) + quarters * QUARTER
    ),
    st.sampled_from([-31, -30, -7, -1, 0, 1, 7, 8, 23, 30, 37, 58]),
    st.integers(0, 3),
    st.sampled_from([0, 0, 0, 1]),
)


@st.composite
def any_trips(draw: st.DrawFn) -> list[Trip]:
    """Draw trips that overlap, tie, lack values, and end exactly where frames begin and end."""
    return [
        _drawn_trip(draw, f"{number:03}") for number in range(draw(st.integers(min_value=1, max_value=60)))
    ]


def _drawn_trip(draw: st.DrawFn, key: str) -> Trip:
    start = draw(STARTS)
    seconds = draw(st.sampled_from([900, 900, 1800, 2700, 60, 6 * 3600, 6 * 3600 + 1, 0, -60, None]))
    rounding = timedelta(seconds=draw(st.sampled_from([0, 0, 0, 900, -900, 1800, 1801, -7200])))
    return Trip(
        unique_key=draw(st.sampled_from([key] * 20 + [None])),
        trip_start_timestamp=start,
        trip_end_timestamp=None if seconds is None else start + timedelta(seconds=seconds) + rounding,
        trip_seconds=seconds,
        trip_miles=draw(st.sampled_from([None, 0.0, 1.5, 2.25, 3.125, 100.0, 100.001, -1.0])),
        pickup_census_tract=draw(st.sampled_from([None, None, 17031081500])),
        pickup_community_area=draw(st.sampled_from([8, 8, None])),
        dropoff_community_area=draw(st.sampled_from([32, None])),
        fare=draw(st.sampled_from([7.25, 7.25, 0.01, 199.99, 200.0, 0.0, -3.0, None])),
        pickup_latitude=draw(st.sampled_from([41.9, None])),
    )
