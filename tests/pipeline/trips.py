"""Hand-made trips in the dataset's columns; fares follow a taximeter, so that a model can learn them."""

from __future__ import annotations

import csv
import math
import random
from typing import TYPE_CHECKING

from taxi_ml.modules.features import COORDINATES
from taxi_ml.sql.columns import COLUMNS, DATASET, ColumnType

if TYPE_CHECKING:
    from pathlib import Path

ROWS = {"train": 900, "eval": 150, "test": 200}
JUNE_2015 = 1_433_116_800
UNKNOWN: dict[str, str | int | float] = {
    column.name: 0 if column.type is ColumnType.INTEGER else -1.0 for column in COLUMNS
}
"""The values of an export for unknown numbers, for columns that these trips do not set."""


PAIR_AVERAGES: dict[str, str | int | float] = {
    "pickup_census_tract": 8,
    "dropoff_census_tract": 28,
    "historical_tripDuration": 720.0,
    "histOneWeek_tripDuration": -1.0,
    "historical_tripDistance": 3.3,
    "histOneWeek_tripDistance": -1.0,
}
"""The only row of the table of pair averages; the week had no trips."""


def write_trips(folder: Path) -> None:
    """Write the three splits and the table of pair averages, the same each time."""
    (folder / "averages").mkdir(parents=True)
    with (folder / "averages" / "pairs_000000000000.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, PAIR_AVERAGES)
        table.writeheader()
        table.writerow(PAIR_AVERAGES)
    generator = random.Random(7)  # noqa: S311  # made-up trips need no secrecy
    for split, count in ROWS.items():
        (folder / split).mkdir(parents=True)
        with (folder / split / "trips_000000000000.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, DATASET)
            writer.writeheader()
            writer.writerows(_trip(generator, f"{split}-{index}") for index in range(count))


def _trip(generator: random.Random, trip_id: str) -> dict[str, str | int | float]:
    miles = round(generator.expovariate(0.3), 3)
    fare = round(3.25 + 2.25 * miles + generator.gauss(0, 0.5), 2)
    hour, minute = generator.randrange(24), generator.choice((0, 15, 30, 45))
    averages = {
        name: value if generator.random() > missing else -1.0
        for name, value, missing in (
            ("historical_tripDuration", miles * 240.0, 0.2),
            ("histOneWeek_tripDuration", miles * 250.0, 0.6),
            ("historical_tripDistance", miles * 1.1, 0.2),
            ("histOneWeek_tripDistance", miles * 1.2, 0.6),
        )
    }
    located = generator.random() > 0.1
    places = dict(zip(COORDINATES, _places(generator, miles * 1609.344), strict=True)) if located else {}
    return UNKNOWN | averages | places | {
        "trip_id": trip_id,
        "TripStartYear": 2015, "TripStartMonth": 6, "TripStartDay": 1,
        "TripStartHour": hour, "TripStartMinute": minute,
        "pickup_census_tract": generator.choice((0, 8, 32)),
        "dropoff_census_tract": generator.choice((6, 28, 76)),
        "fare": max(fare, 3.25),
        "rawDistance": miles * 1609.344 if located else -1.0,
        "trip_start_timestamp": JUNE_2015 + hour * 3600 + minute * 60,
    }  # fmt: skip


def _places(generator: random.Random, metres: float) -> tuple[float, float, float, float]:
    """Draw a pick-up downtown and a drop-off at this distance in any direction, metres east and north."""
    x, y, angle = (
        generator.gauss(113_000, 3_000),
        generator.gauss(98_000, 3_000),
        generator.uniform(0, 2 * math.pi),
    )
    return x, y, x + metres * math.cos(angle), y + metres * math.sin(angle)
