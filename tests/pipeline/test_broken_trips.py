"""Corruptions of real trips are found in their statistics; healthy months have no anomaly."""

from __future__ import annotations

import csv
import shutil
from datetime import date
from typing import TYPE_CHECKING

import pytest

from benchmarks.fare_models.exports import exported, months
from demo.__main__ import LAST_WINDOW_END
from tests.pipeline.test_schema import objections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Row = dict[str, str]

pytestmark = [pytest.mark.pipeline, pytest.mark.xdist_group("broken_trips")]

FIRST_HEALTHY_END = date(2014, 3, 1)
"""From here on a window has a year of trips or more to train on."""
HEALTHY_MONTHS = 23
HISTORY = (
    "historical_tripDuration",
    "histOneWeek_tripDuration",
    "historical_tripDistance",
    "histOneWeek_tripDistance",
)
ABSENT, COMMON = "FEATURE_TYPE_LOW_FRACTION_PRESENT", "VALUE_TOO_COMMON"
MEDIAN, SKEWED = "MEDIAN_OUT_OF_RANGE", "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"


def times(row: Row, column: str, factor: float) -> Row:
    """Return the row with a known number in another unit."""
    value = float(row[column])
    return row if value < 0 else {**row, column: f"{value * factor:.6f}"}


CORRUPTIONS: dict[str, tuple[Callable[[Row], Row], set[str]]] = {
    "fares in cents": (lambda row: times(row, "fare", 100), {"fare FLOAT_TYPE_BIG_FLOAT", f"fare {MEDIAN}"}),
    "kilometres": (lambda row: times(row, "rawDistance", 0.001), {f"rawDistance {MEDIAN}"}),
    "hour 99": (
        lambda row: {**row, "TripStartHour": "99"},
        {"TripStartHour INT_TYPE_BIG_INT", f"TripStartHour {COMMON}"},
    ),
    "one hour": (lambda row: {**row, "TripStartHour": "12"}, {f"TripStartHour {COMMON}"}),
    "no history": (
        lambda row: {**row, **dict.fromkeys(HISTORY, "-1.000000")},
        {f"{name} {ABSENT}" for name in HISTORY},
    ),
    "one fare": (lambda row: {**row, "fare": "9.250000"}, {f"fare {COMMON}"}),
}
"""How a trip is corrupted, and the features and kinds that each corrupted split must have."""

SPLITS = ("train", "eval", "test")


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """The exports of every third healthy month up to the last one, in order."""
    ends = list(months(FIRST_HEALTHY_END, HEALTHY_MONTHS))[1::3]
    with exported(ends, tmp_path_factory.mktemp("healthy")) as exports:
        yield list(exports.folders.values())


@pytest.fixture(scope="module")
def quarters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """Exports with three test months each."""
    ends = (date(2014, 6, 1), date(2015, 1, 1), LAST_WINDOW_END)
    folder = tmp_path_factory.mktemp("quarters")
    with exported(ends, folder, test_months=3) as exports:
        yield list(exports.folders.values())


def test_healthy_months_pass(windows: list[Path]) -> None:
    """The real trips of a month, after one or two years to train on, have no anomaly at all."""
    found = objections(windows)

    assert windows[-1].name.startswith(f"{LAST_WINDOW_END:%Y-%m}")
    assert found == {str(folder): [] for folder in windows}


def test_healthy_quarters_pass(quarters: list[Path]) -> None:
    """Three test months are as close to the training as one is."""
    assert objections(quarters) == {str(folder): [] for folder in quarters}


def test_trips_without_coordinates_pass(windows: list[Path], tmp_path: Path) -> None:
    """A table may lack them: all are unknown in every row, whatever the number of rows."""
    unknown = dict.fromkeys(("pickup_x", "pickup_y", "dropoff_x", "dropoff_y"), "-1.000000")
    folders = [
        corrupted(each, tmp_path / each.name, lambda row: {**row, **unknown}, SPLITS) for each in windows[::3]
    ]

    assert objections(folders) == {str(folder): [] for folder in folders}


def corrupted(source: Path, target: Path, change: Callable[[Row], Row], splits: tuple[str, ...]) -> Path:
    """Copy an export and change each trip of some splits."""
    shutil.copytree(source, target)
    for path in (path for split in splits for path in (target / split).glob("*.csv")):
        with path.open(newline="") as file:
            rows = [change(row) for row in csv.DictReader(file)]
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    return target


def test_every_corruption_is_named(windows: list[Path], tmp_path: Path) -> None:
    """Six corruptions, of all splits or of the test split alone, are found by split, feature and kind."""
    folders = {
        (name, splits): corrupted(windows[-1], tmp_path / f"{name} {len(splits)}", change, splits)
        for name, (change, _) in CORRUPTIONS.items()
        for splits in (SPLITS, ("test",))
    }
    lines = objections(folders.values())
    found = {key: {line.partition(":")[0] for line in lines[str(path)]} for key, path in folders.items()}

    for (name, splits), seen in found.items():
        expected = {f"{split} {what}" for split in splits for what in CORRUPTIONS[name][1]}

        assert seen >= expected, (name, splits)
        assert {each.partition(" ")[0] for each in seen} == set(splits), (name, splits)


@pytest.mark.parametrize("factor", [0.5, 1.6])
def test_test_trips_unlike_the_training_are_named(windows: list[Path], tmp_path: Path, factor: float) -> None:
    """Fares that are plausible in themselves are found by their distance from the training trips'."""
    folder = corrupted(windows[-1], tmp_path / "raised", lambda row: times(row, "fare", factor), ("test",))
    ((line,),) = objections([folder]).values()

    assert line.startswith(f"test fare {SKEWED}: the Jensen-Shannon divergence from the training trips is 0.")
    assert line.endswith("; the reviewed schema allows 0.15")
