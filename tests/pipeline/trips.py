"""Hand-made trips in the dataset's columns; fares follow a taximeter, so that a model can learn them."""

from __future__ import annotations

import csv
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = [
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
]
ROWS = {"train": 900, "eval": 150, "test": 200}
JUNE_2015 = 1_433_116_800


def write_trips(folder: Path) -> None:
    """Write the three splits, the same each time."""
    generator = random.Random(7)  # noqa: S311  # made-up trips need no secrecy
    for split, count in ROWS.items():
        (folder / split).mkdir(parents=True)
        with (folder / split / "trips_000000000000.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(_trip(generator, f"{split}-{index}") for index in range(count))


def _trip(generator: random.Random, trip_id: str) -> list[str | int | float]:
    miles = round(generator.expovariate(0.3), 3)
    fare = round(3.25 + 2.25 * miles + generator.gauss(0, 0.5), 2)
    hour, minute = generator.randrange(24), generator.choice((0, 15, 30, 45))
    averages = [
        value if generator.random() > missing else -1.0
        for value, missing in (
            (miles * 240.0, 0.2),
            (miles * 250.0, 0.6),
            (miles * 1.1, 0.2),
            (miles * 1.2, 0.6),
        )
    ]
    return [
        trip_id, 2015, 6, 1, hour, minute, generator.choice((0, 8, 32)), generator.choice((6, 28, 76)),
        max(fare, 3.25), *averages, miles * 1609.344 if generator.random() > 0.1 else -1.0,
        JUNE_2015 + hour * 3600 + minute * 60,
    ]  # fmt: skip
