"""The reviewed schema: deviations of real trips from it, and of damaged ones."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.pipeline.requests import PIPELINE_PYTHON, REPOSITORY
from tests.pipeline.trips import write_trips

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    Row = dict[str, str]

pytestmark = pytest.mark.pipeline


def in_pipeline_environment(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a module there."""
    return subprocess.run(
        [str(PIPELINE_PYTHON), "-m", module, *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


def objections(folders: Iterable[Path]) -> dict[str, list[str]]:
    """Return the deviations of the trips in folders from the repository's schema."""
    ran = in_pipeline_environment("tests.pipeline.schema_objections", *folders)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, list[str]] = json.loads(ran.stdout)
    return found


def changed(folder: Path, change: Callable[[Row], Row]) -> Path:
    """Write hand-made trips, each of them changed."""
    write_trips(folder)
    for path in folder.glob("*/trips_*.csv"):
        with path.open(newline="") as file:
            rows = [change(row) for row in csv.DictReader(file)]
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    return folder


def without(row: Row, column: str) -> Row:
    """Return the row without a column."""
    return {name: value for name, value in row.items() if name != column}


DAMAGES: dict[str, tuple[Callable[[Row], Row], str]] = {
    "new": (
        lambda row: {**row, "tips": "1.5"},
        "new tips: FLOAT in the trips, nothing in the reviewed schema",
    ),
    "missing": (
        lambda row: without(row, "rawDistance"),
        "missing rawDistance: nothing in the trips, FLOAT in the reviewed schema",
    ),
    "retyped": (
        lambda row: {**row, "fare": "7"},
        "type fare: INT in the trips, FLOAT in the reviewed schema",
    ),
    "sparse": (
        lambda row: {**row, "fare": row["fare"] if float(row["fare"]) < 10 else ""},
        "presence fare: not in every row in the trips, in every row in the reviewed schema",
    ),
    "too large": (
        lambda row: {**row, "TripStartHour": "24"},
        (
            "test TripStartHour INT_TYPE_BIG_INT: "
            "Unexpectedly large value: 24; the reviewed schema allows 0 to 23"
        ),
    ),
    "absent": (
        lambda row: {**row, "rawDistance": "-1.000000"},
        (
            "test rawDistance FEATURE_TYPE_LOW_FRACTION_PRESENT: "
            "absent in 100.0% of the rows; the reviewed schema allows 40.0%"
        ),
    ),
    "unknown areas": (
        lambda row: {**row, "dropoff_census_tract": "0"},
        (
            "train dropoff_census_tract FEATURE_TYPE_LOW_FRACTION_PRESENT: "
            "absent in 100.0% of the rows; the reviewed schema allows 40.0%"
        ),
    ),
}


def test_damaged_trips_are_named(tmp_path: Path) -> None:
    """A column that is new, missing, retyped, sparse, out of range or mostly absent is reported as such."""
    folders = {name: changed(tmp_path / name, change) for name, (change, _) in DAMAGES.items()}
    found = objections(folders.values())

    for name, (_, line) in DAMAGES.items():
        assert line in found[str(folders[name])], name


def test_schema_of_other_trips_is_written_for_review(tmp_path: Path) -> None:
    """The command describes an export so that its own trips pass, and reports an invalid schema."""
    write_trips(tmp_path / "data")
    out = tmp_path / "schema.pbtxt"
    written = in_pipeline_environment("taxi_ml.schema", "--data", tmp_path / "data", "--out", out)
    passed = in_pipeline_environment("taxi_ml.schema", "--data", tmp_path / "data", "--against", out)
    refused = in_pipeline_environment("taxi_ml.schema", "--data", tmp_path / "nowhere", "--out", out)

    assert (written.returncode, passed.returncode, refused.returncode) == (0, 0, 2), passed.stdout
    for line in (
        'tag: "most_absent:0.45"',
        'tag: "median:',
        "infinity_norm {",
        "jensen_shannon_divergence {",
    ):
        assert line in out.read_text()
    assert "nowhere/train holds no trips" in refused.stderr
