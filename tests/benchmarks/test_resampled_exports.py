from __future__ import annotations

import csv
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from benchmarks.taxi_pipeline.resampled_exports import MARK, resample
from taxi_ml import sql
from taxi_ml.settings import Settings
from taxi_ml.sizing import sampled
from taxi_ml.splits import ExamplesFormat, Split
from taxi_ml.sql import SplitCounts

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = Settings(project="taxi-local", bucket="gs://taxi-local", pipeline_image="taxi:1")
REAL = {Split.TRAIN: 200, Split.EVAL: 20, Split.TEST: 60}
TRIP = {"TripStartHour": 5, "fare": 12.5, "rawDistance": -1.0, "trip_start_timestamp": 1_400_269_500}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Return an export in Parquet: trips that differ only in their ids and splits."""
    folder = tmp_path / "export"
    for split, rows in REAL.items():
        (folder / split).mkdir(parents=True)
        trips = [{"trip_id": f"{split}{number}", **TRIP} for number in range(rows)]
        parquet.write_table(pa.Table.from_pylist(trips), folder / split / "trips_000000000000.parquet")
    return folder


def rows(folder: Path, split: Split) -> list[dict[str, str]]:
    """Return the rows of all CSV files of a split, in their order."""
    found: list[dict[str, str]] = []
    for path in sorted((folder / "csv" / split).iterdir()):
        with path.open(newline="") as stream:
            found += csv.DictReader(stream)
    return found


def made(export: Path, **options: Any) -> tuple[SplitCounts, Path]:  # noqa: ANN401  # what resample takes
    """Resample to CSV; return the counts and the folder."""
    target = export.parent / "target"
    return resample(export, target, formats=[ExamplesFormat.CSV], **options), target


def test_numbers_are_written_as_the_export_writes_them(export: Path) -> None:
    """Floats have six decimals, in real rows and copies, and integers have none."""
    _, target = made(export, rows=10 * 280)
    trips = rows(target, Split.TRAIN)

    assert all(
        re.fullmatch(r"-?\d+\.\d{6}", trip[name]) for trip in trips for name in ("fare", "rawDistance")
    )
    assert {trip["trip_start_timestamp"] for trip in trips} == {"1400269500"}


def test_real_rows_come_first_and_copies_are_marked(export: Path) -> None:
    """Every split has as many copies as the others, no two trips share an id, and absent numbers stay so."""
    counts, target = made(export, rows=10 * 280)
    trips = rows(target, Split.TEST)

    assert counts == SplitCounts(train=2000, eval=200, test=600)
    assert [trip["trip_id"] for trip in trips[:60]] == [f"test{number}" for number in range(60)]
    assert {trip["fare"] for trip in trips[:60]} == {"12.500000"}
    assert all(trip["trip_id"].startswith(MARK) for trip in trips[60:])
    assert len({trip["trip_id"] for trip in trips}) == 600
    assert len({trip["fare"] for trip in trips[60:]}) > 500
    assert all(6.25 <= float(trip["fare"]) <= 18.75 for trip in trips)
    assert {trip["rawDistance"] for trip in trips} == {"-1.000000"}


def test_a_sample_has_the_caps_give_or_take_chance(export: Path) -> None:
    """Train and eval shrink by one share, test by its own; the returned counts are those of the files."""
    capped = SETTINGS.with_overrides(max_train_rows=5_000, max_test_rows=3_000)
    counts, target = made(export, rows=100 * 280, sample=partial(sampled, capped))

    assert counts == SplitCounts(**{split: len(rows(target, split)) for split in Split})
    assert counts.train == pytest.approx(5_000, rel=0.08)
    assert counts.eval == pytest.approx(500, rel=0.2)
    assert counts.test == pytest.approx(3_000, rel=0.08)


def test_a_sample_of_fewer_rows_than_its_cap_is_all_of_them(export: Path) -> None:
    """The caps of the settings leave small tables as they are."""
    counts, _ = made(export, rows=280, sample=partial(sampled, SETTINGS))

    assert counts == SplitCounts(**REAL)


def test_both_formats_have_the_same_rows(export: Path) -> None:
    """By default CSV and Parquet are written, of the same trips."""
    target = export.parent / "target"
    resample(export, target, rows=3 * 280)
    (path,) = (target / "parquet" / "eval").iterdir()

    assert parquet.read_table(path)["trip_id"].to_pylist() == [
        trip["trip_id"] for trip in rows(target, Split.EVAL)
    ]


def test_same_arguments_give_the_same_files(export: Path) -> None:
    """A resample can be repeated, sample included."""
    capped = SETTINGS.with_overrides(max_train_rows=1_000)
    sizes = {"rows": 10 * 280, "sample": partial(sampled, capped)}
    first = rows(made(export, **sizes)[1], Split.TRAIN)

    assert rows(made(export, **sizes)[1], Split.TRAIN) == first


def test_columns_are_those_of_the_export(export: Path) -> None:
    """The header has the columns of the source in their order, as the export's statement names them."""
    window = SETTINGS.window("2016-01-01")
    named = re.findall(r"^  .* AS (\w+),?$", sql.export_split(SETTINGS, window, Split.EVAL).sql, re.MULTILINE)
    _, target = made(export, rows=280)

    assert list(rows(target, Split.EVAL)[0]) == ["trip_id", *TRIP]
    assert set(TRIP) <= set(named)
