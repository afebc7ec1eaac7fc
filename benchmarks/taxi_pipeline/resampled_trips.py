"""More than the real trips: these, repeated with noise, marked as such."""

from __future__ import annotations

import csv
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MARK: Final = "resampled"
"""The prefix of the companies of trips that are not real."""

_QUARTER_SECONDS: Final = 900
_MOST_QUARTERS: Final = 3 * 96
_SPREAD: Final = 0.05
_MEASURED: Final = {"trip_miles": 2, "trip_seconds": 0, "fare": 2}


def resample(source: Path, target: Path, *, times: int, seed: int = 0) -> int:
    """Write the trips of `source` followed by `times` - 1 noisy copies of all of them; return the rows.

    `source` has the form of the trips in the TFX package (`demo.trips.find_source`), and so has
    `target`: `demo.trips.load` puts either into BigQuery. A copy starts up to three days earlier or
    later, in quarters of an hour, and its miles, seconds and fare differ by a few percent. Its company
    reads `resampled <copy>.<row>: <company>`, so that no two rows, and none of the keys made from them,
    are the same. The same arguments give the same file.
    """
    generator = random.Random(seed)  # noqa: S311  # noise needs no secrecy
    with source.open(newline="") as stream:
        reader = csv.DictReader(stream)
        real, columns = list(reader), list(reader.fieldnames or ())
    with target.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(real)
        for copy in range(1, times):
            writer.writerows(_noisy(real, copy, generator))
    return times * len(real)


def _noisy(
    trips: list[dict[str, str]], copy: int, generator: random.Random
) -> Iterator[Mapping[str, str | int | float]]:
    for number, trip in enumerate(trips):
        quarters = generator.randint(-_MOST_QUARTERS, _MOST_QUARTERS)
        start = int(trip["trip_start_timestamp"]) + quarters * _QUARTER_SECONDS
        factor = 1 + max(-3, min(3, generator.gauss())) * _SPREAD
        measured = {
            name: _rounded(float(trip[name]) * factor, digits) if trip[name] else ""
            for name, digits in _MEASURED.items()
        }
        yield trip | _calendar(start) | measured | {"company": f"{MARK} {copy}.{number}: {trip['company']}"}


def _rounded(value: float, digits: int) -> float:
    """Round to whole numbers for columns without digits: the package writes seconds without a point."""
    return round(value, digits) if digits else round(value)


def _calendar(start: int) -> dict[str, int]:
    moment = datetime.fromtimestamp(start, UTC)
    return {
        "trip_start_timestamp": start,
        "trip_start_month": moment.month,
        "trip_start_hour": moment.hour,
        "trip_start_day": moment.isoweekday() % 7 + 1,
    }
