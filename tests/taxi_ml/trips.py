"""Hand-made trips, and a reference that follows each of them by hand."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from taxi_ml.window import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW = Window(end=date(2015, 3, 1), train_months=1, test_months=1)
TRAIN_START = datetime(2015, 1, 1, tzinfo=UTC)
END = datetime(2015, 3, 1, tzinfo=UTC)
HISTORY = timedelta(days=30)
WEEK = timedelta(days=7)
QUARTER = timedelta(minutes=15)
SCAN_START = TRAIN_START - HISTORY - timedelta(hours=6, minutes=30)

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
        """The areas that the trip goes from and to."""
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
    """Return why a trip is left out, by the rules of the product's description."""
    if not (trip.unique_key or "").strip():
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
    miles = [trip.trip_miles or 0, (distance(trip) or 0) / 1609.344]
    return "distance_too_long" if max(miles) > 100 else None


def distance(trip: Trip) -> float | None:
    """Return the meters between two possible points by the haversine formula on a sphere of 6,371 km."""
    points = (
        (trip.pickup_latitude, trip.pickup_longitude),
        (trip.dropoff_latitude, trip.dropoff_longitude),
    )
    ends = []
    for latitude, longitude in points:
        if latitude is None or longitude is None or latitude == longitude == 0:
            return None
        if abs(latitude) > 90 or abs(longitude) > 180:
            return None
        ends.append((math.radians(latitude), math.radians(longitude)))
    (south, west), (north, east) = ends
    half = math.sin((north - south) / 2) ** 2
    half += math.cos(south) * math.cos(north) * math.sin((east - west) / 2) ** 2
    return 2 * 6_371_000 * math.asin(math.sqrt(half))


def coordinates(trip: Trip) -> dict[str, float | None]:
    """Return the metres east and north of 41 N, 89 W for places in the box up to 43 N, 87 W."""
    found: dict[str, float | None] = {}
    for name, latitude, longitude in (
        ("pickup", trip.pickup_latitude, trip.pickup_longitude),
        ("dropoff", trip.dropoff_latitude, trip.dropoff_longitude),
    ):
        x = y = None
        if (
            latitude is not None
            and longitude is not None
            and 41 <= latitude <= 43
            and -89 <= longitude <= -87
        ):
            x, y = rounded((longitude + 89) * 82_763), rounded((latitude - 41) * 111_195)
        found |= {f"{name}_x": x, f"{name}_y": y}
    return found


def without_copies(trips: Sequence[Trip]) -> list[Trip]:
    """Return the trips that are kept: for each id the one that sorts first."""
    chosen: dict[str | None, Trip] = {}
    for trip in sorted((trip for trip in trips if drop_reason(trip) is None), key=_preference):
        chosen.setdefault(trip.unique_key, trip)
    return list(chosen.values())


def _preference(trip: Trip) -> tuple[Any, ...]:
    """Sort the latest first, and absent numbers before others."""
    end = trip.trip_end_timestamp or trip.trip_start_timestamp
    rest = (
        trip.trip_seconds,
        trip.trip_miles or None,
        trip.fare,
        *trip.pair,
        distance(trip),
        *coordinates(trip).values(),
    )
    return (
        -trip.trip_start_timestamp.timestamp(),
        -end.timestamp(),
        *((number is not None, number or 0) for number in rest),
    )


def averages(trip: Trip, trips: Sequence[Trip]) -> dict[str, float | None]:
    """Average over those of the kept `trips` that ended before the trip starts, one after the other."""
    found: dict[str, float | None] = {}
    for name, back in (("historical", HISTORY), ("histOneWeek", WEEK)):
        start = trip.trip_start_timestamp
        before = [
            other
            for other in trips
            if other.pair == trip.pair
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
    """Round away the differences that the order of a sum can make."""
    return None if value is None else round(value, 9)


def expected_dataset(trips: Sequence[Trip]) -> dict[str, dict[str, float | None]]:
    """Return the averages and coordinates of every trip that belongs to the window."""
    scanned = [trip for trip in trips if SCAN_START <= trip.trip_start_timestamp < END]
    kept = without_copies(scanned)
    return {
        str(trip.unique_key): averages(trip, kept) | coordinates(trip)
        for trip in kept
        if trip.trip_start_timestamp >= TRAIN_START
    }


STARTS = st.builds(
    lambda days, quarters, seconds, micros: (
        TRAIN_START + timedelta(days=days, seconds=seconds, microseconds=micros) + quarters * QUARTER
    ),
    st.sampled_from([-31, -30, -7, -1, 0, 1, 7, 8, 23, 30, 37, 58]),
    st.integers(0, 3),
    st.sampled_from([0, 0, 0, 1, 437]),
    st.sampled_from([0, 0, 0, 1]),
)


@st.composite
def any_trips(draw: st.DrawFn) -> list[Trip]:
    """Draw trips that overlap, tie, repeat, lack values, and end exactly where frames begin and end."""
    return [_drawn_trip(draw, number) for number in range(draw(st.integers(min_value=1, max_value=60)))]


def _drawn_trip(draw: st.DrawFn, number: int) -> Trip:
    start = draw(STARTS)
    seconds = draw(st.sampled_from([900, 900, 1800, 2700, 60, 6 * 3600, 6 * 3600 + 1, 0, -60, None]))
    rounding = timedelta(seconds=draw(st.sampled_from([0, 0, 0, 900, -900, 1800, 1801, -7200])))
    key = f"{number:03}"
    return Trip(
        unique_key=draw(st.sampled_from([key] * 20 + [None, "", " ", "000", "000"])),
        trip_start_timestamp=start,
        trip_end_timestamp=None if seconds is None else start + timedelta(seconds=seconds) + rounding,
        trip_seconds=seconds,
        trip_miles=draw(st.sampled_from([None, 0.0, 1.5, 2.25, 3.125, 100.0, 100.001, -1.0])),
        pickup_census_tract=draw(st.sampled_from([None, None, 17031081500])),
        pickup_community_area=draw(st.sampled_from([8, 8, None])),
        dropoff_community_area=draw(st.sampled_from([32, None])),
        fare=draw(st.sampled_from([7.25, 7.25, 0.01, 199.99, 200.0, 0.0, -3.0, None])),
        pickup_latitude=draw(st.sampled_from([41.9, 41.9, 41.9, None, 0.0, 45.0, 91.0])),
        pickup_longitude=draw(st.sampled_from([-87.6, -87.6, -87.6, 0.0, 500.0])),
        dropoff_latitude=draw(st.sampled_from([41.98, 41.98, 41.7, 40.99, 43.0])),
        dropoff_longitude=draw(st.sampled_from([-87.9, -87.9, -88.9, -89.0, -86.99, None])),
    )
