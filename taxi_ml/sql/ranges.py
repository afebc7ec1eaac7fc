"""The values that the dataset's columns can have, given how the statements bound them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from taxi_ml.sql.columns import COLUMNS, Quantity
from taxi_ml.sql.statements import METRES_OF_A_MILE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taxi_ml.settings import Settings
    from taxi_ml.sql.columns import Range
    from taxi_ml.window import Window

_YEARS: Final = 10
"""A model answers requests for trips up to this long before and after its window."""
_ALLOWANCE: Final = 2.0
"""A client's averages may include trips that the statements drop."""
_LARGEST_TRACT: Final = 10**11 - 1
"""The Census Bureau numbers tracts with 11 digits."""


def ranges(settings: Settings, window: Window) -> dict[str, Range]:
    """Return the values that a model of this window can have learned from, by column, with some allowance.

    An unknown integer is 0, as `export_integer.sql` writes it. Columns of a `source_table` that
    `source_trips.sql` does not bound are left out.
    """
    first = max(window.train_start.year - _YEARS, 1)
    last = min(window.end.year + _YEARS, 9999)
    quantities = _quantities(settings, first, last)
    bounded: dict[str, Range] = {}
    for column in COLUMNS:
        values = quantities.get(column.values) if isinstance(column.values, Quantity) else column.values
        if values:
            bounded[column.name] = values
    return bounded | {"trip_start_timestamp": (_unix_seconds(first), _unix_seconds(last))}


def _quantities(settings: Settings, first_year: int, last_year: int) -> Mapping[Quantity, Range]:
    miles = _ALLOWANCE * settings.max_trip_miles
    bounded: dict[Quantity, Range] = {
        Quantity.SECONDS: (0, _ALLOWANCE * settings.max_trip_hours * 3600),
        Quantity.METRES: (0, miles * METRES_OF_A_MILE),
    }
    if settings.source_table:
        # A user's own table may number its areas freely, and may not have the year of a trip.
        return bounded | {Quantity.YEAR: (0, last_year)}
    return bounded | {
        Quantity.YEAR: (first_year, last_year),
        Quantity.AREA: (0, _LARGEST_TRACT),
        Quantity.MILES: (0, miles),
    }


def _unix_seconds(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
