"""The columns that the statements read from a table which somebody else keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from taxi_ml.settings import Settings

TRIPS: Final = frozenset(
    {
        "unique_key",
        "trip_start_timestamp",
        "trip_end_timestamp",
        "trip_seconds",
        "trip_miles",
        "pickup_census_tract",
        "dropoff_census_tract",
        "pickup_community_area",
        "dropoff_community_area",
        "fare",
        "pickup_latitude",
        "pickup_longitude",
        "dropoff_latitude",
        "dropoff_longitude",
    }
)
"""Those of the public table of taxi trips."""

DATASET: Final = frozenset(
    {
        "trip_id",
        "TripStartYear",
        "TripStartMonth",
        "TripStartDay",
        "TripStartHour",
        "TripStartMinute",
        "pickup_census_tract",
        "dropoff_census_tract",
        "fare",
        "historical_tripDuration",
        "histOneWeek_tripDuration",
        "historical_tripDistance",
        "histOneWeek_tripDistance",
        "rawDistance",
        "trip_start_timestamp",
    }
)
"""Those of a table that has the dataset's shape already, `source_table`."""


def source(settings: Settings) -> tuple[str, frozenset[str]]:
    """Return the table that trips come from, `<project>.<dataset>.<table>`, and the columns it must have."""
    if settings.source_table:
        return settings.source_table, DATASET
    return settings.trips_table, TRIPS
