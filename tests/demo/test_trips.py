"""Taxi trips in the form of the public table."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest

from demo.trips import COLUMNS, find_source, public_rows, write_public_csv
from local_gcp.errors import MissingToolError

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE_ROW = {
    "pickup_community_area": "8",
    "fare": "12.45",
    "trip_start_month": "5",
    "trip_start_hour": "19",
    "trip_start_day": "6",
    "trip_start_timestamp": "1400269500",
    "pickup_latitude": "41.9",
    "pickup_longitude": "-87.6",
    "dropoff_latitude": "",
    "dropoff_longitude": "",
    "trip_miles": "3.1",
    "pickup_census_tract": "",
    "dropoff_census_tract": "17031081401",
    "payment_type": "Cash",
    "company": "",
    "trip_seconds": "500",
    "dropoff_community_area": "",
    "tips": "0.0",
}


def convert(folder: Path, *rows: dict[str, str]) -> list[dict[str, str]]:
    """Convert rows of the package."""
    source = folder / "data.csv"
    with source.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(PACKAGE_ROW))
        writer.writeheader()
        writer.writerows(rows)
    return list(public_rows(source))


def test_values_are_copied(tmp_path: Path) -> None:
    """Columns that both tables have are copied."""
    (row,) = convert(tmp_path, PACKAGE_ROW)

    assert {name: row[name] for name in ("fare", "trip_miles", "dropoff_census_tract", "payment_type")} == {
        "fare": "12.45",
        "trip_miles": "3.1",
        "dropoff_census_tract": "17031081401",
        "payment_type": "Cash",
    }


def test_times(tmp_path: Path) -> None:
    """The start is a timestamp, and the end is start plus seconds to the nearest quarter of an hour."""
    (row,) = convert(tmp_path, PACKAGE_ROW)

    assert (row["trip_start_timestamp"], row["trip_end_timestamp"]) == (
        "2014-05-16 19:45:00+00:00",
        "2014-05-16 20:00:00+00:00",
    )


def test_trip_without_seconds_has_no_end(tmp_path: Path) -> None:
    """A trip of unknown duration has no end."""
    (row,) = convert(tmp_path, PACKAGE_ROW | {"trip_seconds": ""})

    assert row["trip_end_timestamp"] == ""


def test_location_needs_both_coordinates(tmp_path: Path) -> None:
    """A location is a WKT point of longitude and latitude, or NULL."""
    (row,) = convert(tmp_path, PACKAGE_ROW)

    assert (row["pickup_location"], row["dropoff_location"]) == ("POINT (-87.6 41.9)", "")


def test_what_the_package_lacks_is_null(tmp_path: Path) -> None:
    """Columns that the package lacks are NULL."""
    (row,) = convert(tmp_path, PACKAGE_ROW)

    assert {row[name] for name in ("taxi_id", "tolls", "extras", "trip_total")} == {""}


def test_unique_key_depends_on_the_trip_only(tmp_path: Path) -> None:
    """The key of a trip does not depend on its place in the file, and differs between trips."""
    other = PACKAGE_ROW | {"fare": "12.46"}
    first, second = convert(tmp_path, PACKAGE_ROW, other)
    again_second, again_first = convert(tmp_path, other, PACKAGE_ROW)

    assert (first["unique_key"], second["unique_key"]) == (
        again_first["unique_key"],
        again_second["unique_key"],
    )
    assert first["unique_key"] != second["unique_key"]


def test_csv_has_the_columns_of_the_public_table(tmp_path: Path) -> None:
    """The file for the load job has every column, in the table's order."""
    convert(tmp_path, PACKAGE_ROW)
    count = write_public_csv(tmp_path / "data.csv", tmp_path / "public.csv")
    header = (tmp_path / "public.csv").read_text().splitlines()[0]

    assert (count, header.split(",")) == (1, [column.name for column in COLUMNS])


def test_absent_pipeline_environment_names_the_remedy(tmp_path: Path) -> None:
    """Without the pipeline environment the message says how to create it."""
    with pytest.raises(MissingToolError, match="make setup"):
        find_source(tmp_path / "python")
