"""The values that the dataset's columns can have, as the statements leave them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from taxi_ml.sql.statements import METRES_OF_A_MILE

if TYPE_CHECKING:
    from taxi_ml.settings import Settings
    from taxi_ml.window import Window

Range = tuple[float, float]
"""The least and the largest value."""

_YEARS: Final = 10
"""A model may be asked about trips so long before and after those of its window."""
_ALLOWANCE: Final = 2.0
"""A client's averages may come from trips that the statements drop."""
_LARGEST_TRACT: Final = 10**11 - 1
"""The Census Bureau's numbers of tracts have 11 digits."""
_CALENDAR: Final = {
    "TripStartMonth": (0, 12),
    "TripStartDay": (0, 31),
    "TripStartHour": (0, 23),
    "TripStartMinute": (0, 59),
}


def ranges(settings: Settings, window: Window) -> dict[str, Range]:
    """Return the values that a model of this window can have learned from, by column, with some allowance.

    0 is an unknown integer, as `export_split.sql` writes it. Columns of a `source_table` that its statement
    does not bound are left out.
    """
    first = max(window.train_start.year - _YEARS, 1)
    last = min(window.end.year + _YEARS, 9999)
    seconds = _ALLOWANCE * settings.max_trip_hours * 3600
    miles = _ALLOWANCE * settings.max_trip_miles
    bounded: dict[str, Range] = {
        "TripStartYear": (0, last),
        **_CALENDAR,
        "trip_start_timestamp": (_unix_seconds(first), _unix_seconds(last)),
        "historical_tripDuration": (0, seconds),
        "histOneWeek_tripDuration": (0, seconds),
        "rawDistance": (0, miles * METRES_OF_A_MILE),
    }
    if settings.source_table:
        return bounded
    return bounded | {
        "TripStartYear": (first, last),
        "pickup_census_tract": (0, _LARGEST_TRACT),
        "dropoff_census_tract": (0, _LARGEST_TRACT),
        "historical_tripDistance": (0, miles),
        "histOneWeek_tripDistance": (0, miles),
    }


def _unix_seconds(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
