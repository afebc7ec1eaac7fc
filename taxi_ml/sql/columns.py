"""The columns that the statements read and write; the dataset's columns are listed here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
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
"""The columns of the public table of taxi trips that `trips.sql` reads."""


class ColumnType(StrEnum):
    """BigQuery's name of a column's type."""

    INTEGER = "INT64"
    FLOAT = "FLOAT64"


class Quantity(StrEnum):
    """A quantity whose bounds depend on the run's settings or window; `ranges` computes them."""

    YEAR = "year"
    AREA = "area"
    SECONDS = "seconds"
    MILES = "miles"
    METRES = "metres"


Range = tuple[float, float]
"""The smallest and the largest value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A numeric column of the dataset.

    `values` bounds what clients may send to the model, or names the quantity that does; None sets no bound
    beyond that of the type. An unknown integer is exported as 0 and an unknown float as -1.0, so that
    values must not be negative. A `source_table` may lack an optional column, whose values are then unknown.
    """

    name: str
    type: ColumnType
    values: Range | Quantity | None = None
    optional: bool = False


SOUTH: Final = 41.0
NORTH: Final = 43.0
WEST: Final = -89.0
EAST: Final = -87.0
"""Degrees; the box around Chicago in which a place has coordinates in metres."""
METRES_OF_LATITUDE: Final = 111_195.0
METRES_OF_LONGITUDE: Final = 82_763.0
"""The length of a degree on a sphere of 6,371 km, at Chicago's latitude of 41.9 degrees.

Within the city a plane deviates from the sphere by less than a percent.
"""

_INTEGER, _FLOAT = ColumnType.INTEGER, ColumnType.FLOAT
_EASTWARD: Final = (0.0, (EAST - WEST) * METRES_OF_LONGITUDE)
_NORTHWARD: Final = (0.0, (NORTH - SOUTH) * METRES_OF_LATITUDE)

COLUMNS: Final = (
    Column(name="TripStartYear", type=_INTEGER, values=Quantity.YEAR),
    Column(name="TripStartMonth", type=_INTEGER, values=(0, 12)),
    Column(name="TripStartDay", type=_INTEGER, values=(0, 31)),
    Column(name="TripStartHour", type=_INTEGER, values=(0, 23)),
    Column(name="TripStartMinute", type=_INTEGER, values=(0, 59)),
    Column(name="pickup_census_tract", type=_INTEGER, values=Quantity.AREA),
    Column(name="dropoff_census_tract", type=_INTEGER, values=Quantity.AREA),
    Column(name="fare", type=_FLOAT),
    Column(name="historical_tripDuration", type=_FLOAT, values=Quantity.SECONDS),
    Column(name="histOneWeek_tripDuration", type=_FLOAT, values=Quantity.SECONDS),
    Column(name="historical_tripDistance", type=_FLOAT, values=Quantity.MILES),
    Column(name="histOneWeek_tripDistance", type=_FLOAT, values=Quantity.MILES),
    Column(name="rawDistance", type=_FLOAT, values=Quantity.METRES),
    Column(name="pickup_x", type=_FLOAT, values=_EASTWARD, optional=True),
    Column(name="pickup_y", type=_FLOAT, values=_NORTHWARD, optional=True),
    Column(name="dropoff_x", type=_FLOAT, values=_EASTWARD, optional=True),
    Column(name="dropoff_y", type=_FLOAT, values=_NORTHWARD, optional=True),
)
"""The numeric columns in the order in which they are exported; `build_dataset.sql` computes each of them.

The statements name the dataset's two other columns themselves: `trip_id` and `trip_start_timestamp` decide
which trips a split has. docs/model.md shows how to add a column.
"""

AVERAGES: Final = tuple(
    column
    for column in COLUMNS
    if column.name
    in {
        "pickup_census_tract",
        "dropoff_census_tract",
        "historical_tripDuration",
        "histOneWeek_tripDuration",
        "historical_tripDistance",
        "histOneWeek_tripDistance",
    }
)
"""The columns of the table of pair averages, which `taxi_ml.modules.averages` reads."""

DATASET: Final = ("trip_id", *(column.name for column in COLUMNS), "trip_start_timestamp")
"""All columns of the dataset."""

OPTIONAL: Final = frozenset(column.name for column in COLUMNS if column.optional)
"""The columns that a `source_table` may lack."""


def source(settings: Settings) -> tuple[str, frozenset[str]]:
    """Return the table that trips come from, `<project>.<dataset>.<table>`, and the columns it must have."""
    if settings.source_table:
        return settings.source_table, frozenset(DATASET) - OPTIONAL
    return settings.trips_table, TRIPS
