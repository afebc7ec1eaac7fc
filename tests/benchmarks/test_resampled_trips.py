from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from benchmarks.taxi_pipeline.resampled_trips import MARK, resample
from demo.trips import public_rows

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """\
pickup_community_area,fare,trip_start_month,trip_start_hour,trip_start_day,trip_start_timestamp,\
pickup_latitude,pickup_longitude,dropoff_latitude,dropoff_longitude,trip_miles,pickup_census_tract,\
dropoff_census_tract,payment_type,company,trip_seconds,dropoff_community_area,tips
8,12.45,5,19,6,1400269500,,,,,2.5,,,Credit Card,Elite,600,6,0.0
8,0,3,19,5,1362683700,,,,,0,,,Unknown,,300,,0
"""


def resampled(folder: Path, **options: int) -> list[dict[str, str]]:
    """Resample two trips and read what was written."""
    source, target = folder / "source.csv", folder / "target.csv"
    source.write_text(SOURCE)
    rows = resample(source, target, **options)
    with target.open(newline="") as stream:
        written = list(csv.DictReader(stream))
    assert len(written) == rows
    return written


def test_real_trips_come_first_and_copies_are_marked(tmp_path: Path) -> None:
    """The first rows are the source's; every other one says that it is a copy, and all keys differ."""
    trips = resampled(tmp_path, times=10)
    keys = {row["unique_key"] for row in public_rows(tmp_path / "target.csv")}

    assert trips[:2] == list(csv.DictReader(SOURCE.splitlines()))
    assert all(trip["company"].startswith(MARK) for trip in trips[2:])
    assert len(keys) == len(trips) == 20


def test_copies_differ_by_noise(tmp_path: Path) -> None:
    """Times, miles and fares of the copies are spread around the real ones; what is absent stays so."""
    copies = resampled(tmp_path, times=10)[2::2]
    moved = {abs(int(copy["trip_start_timestamp"]) - 1400269500) for copy in copies}

    assert len({copy["fare"] for copy in copies}) > 5
    assert all(2.0 < float(copy["trip_miles"]) < 3.0 for copy in copies)
    assert all(copy["pickup_latitude"] == "" for copy in copies)
    assert len(moved) > 5
    assert max(moved) <= 3 * 86400


def test_same_seed_gives_same_trips(tmp_path: Path) -> None:
    """A resample can be repeated; another seed gives a different one."""
    assert resampled(tmp_path, times=3, seed=1) == resampled(tmp_path, times=3, seed=1)
    assert resampled(tmp_path, times=3, seed=1) != resampled(tmp_path, times=3, seed=2)
