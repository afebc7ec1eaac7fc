"""Examples made in batches: those of TFX's CsvExampleGen for any CSV, shuffled, in little memory."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
from statistics import mean
from typing import TYPE_CHECKING, Any

import pytest

from tests.pipeline.pipeline_python import examples_of, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.pipeline

CELLS = {
    "whole": ["7", "-12", "", "0", "007"],
    "whole_to_python": ["7", "+5", " 8 ", "1_000", ""],
    "longest_whole": ["9223372036854775807", "-9223372036854775808", "", "1", "2"],
    "too_long_for_whole": ["9223372036854775808", "1", "2", "", "3"],
    "hexadecimal": ["0x10", "1", "2", "3", ""],
    "number": ["1.5", "-0.25", "", ".5", "3"],
    "whole_but_once": ["1", "2", "3", "4", "5.0"],
    "number_to_python": ["nan", "1e5", "-inf", "1_0.5", " 2.5"],
    "beyond_float32": ["1e300", "-1e300", "1e-300", "0.1", "16777217.0"],
    "point_alone": ["5.", "1.0", "2.0", "", ""],
    "text": ["a", "1", "", "2.5", "ä€"],
    "quoted": ['"a,b"', '"say ""hi"""', '"two\nlines"', '""', '"1"'],
    "date": ["2015-07-01", "", "", "", ""],
    "always_empty": ["", "", '""', "", ""],
}
"""A file of every kind of column; the cells are as they are written."""


def write(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write rows, the first of which names the columns, with an empty line before the last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    *first, last = (",".join(row) for row in rows)
    path.write_text("\n".join([*first, "", last]) + "\n")


def texts(found: list[dict[str, Any]]) -> list[str]:
    """Return examples in a comparable form, NaN included, sorted."""
    return sorted(json.dumps(example, sort_keys=True) for example in found)


def test_csv_gives_what_tfx_makes_of_it(tmp_path: Path) -> None:
    """Types follow from all cells of a split, by Python's rules; quotes and empty cells mean the same."""
    rows = [list(row) for row in zip(*CELLS.values(), strict=True)]
    header = list(CELLS)
    write(tmp_path / "csv/train/trips_0.csv", [header, *rows[:2]])
    write(tmp_path / "csv/train/trips_1.csv", [header, *rows[2:]])
    write(tmp_path / "csv/eval/trips_0.csv", [header, *rows[3:]])
    (tmp_path / "csv/test").mkdir()
    (tmp_path / "csv/test/trips_0.csv").write_text(",".join(header) + "\n")
    made = examples_of(tmp_path, "csv", "csv-by-tfx")
    expected, found = (made[reader]["splits"] for reader in ("csv-by-tfx", "csv"))

    assert [len(rows) for rows in expected.values()] == [5, 2, 0]
    assert {split: texts(rows) for split, rows in expected.items()} == {
        split: texts(rows) for split, rows in found.items()
    }


def test_split_without_files_is_named(tmp_path: Path) -> None:
    """A pattern that matches nothing is an error, not a split without examples."""
    (tmp_path / "csv").mkdir()

    with pytest.raises(subprocess.CalledProcessError):
        examples_of(tmp_path, "csv")

    assert f"no file matches {tmp_path}/csv/train/trips_*.csv" in (tmp_path / "log").read_text()


HEADER = ["row", "trip_id", "fare"]


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcomes for folders of CSV files, by name."""
    folder = tmp_path_factory.mktemp("shuffled")
    # Like an export of a table that is clustered by time.
    ordered = [[str(number), f"{number:032x}", f"{number % 100}.500000"] for number in range(20_000)]
    # Short rows, of which Beam would keep 300 MB and more; they come last, as the peak is the process's.
    many = ([str(number), f"{number:032x}", f"{number % 100}.500000"] for number in range(400_000))
    rows = random.Random(1).sample(ordered, len(ordered))  # noqa: S311  # no secret
    for name, files in {
        "ordered": [[HEADER, *ordered]],
        "again": [[HEADER, *rows[:3_000]], [HEADER, *rows[3_000:]]],
        "mixed_headers": [[HEADER, *ordered[:2]], [HEADER[::-1], *ordered[:2]]],
        "too_many_cells": [[HEADER, [*ordered[0], "more"]]],
        "zz_many": [[HEADER, *many]],
    }.items():
        for number, file in enumerate(files):
            write(folder / name / f"{number}.csv", file)
    found: dict[str, Any] = json.loads(run("tests.pipeline.shuffled", folder))
    return found


def test_every_shard_is_a_random_sample_in_random_order(shuffled: dict[str, Any]) -> None:
    """The rows of a shard, and those of each part of it, come from everywhere in the files."""
    shards = shuffled["ordered"]["shards"]

    assert sorted(itertools.chain(*shards)) == list(range(20_000))
    for shard in shards:
        # Within five standard errors: of a binomial's count, and of the mean of n uniform numbers.
        assert abs(len(shard) - 5_000) < 5 * (20_000 * 3 / 16) ** 0.5
        assert all(
            abs(mean(shard[first : first + 500]) - 10_000) < 5 * 20_000 / (12 * 500) ** 0.5
            for first in range(0, 4_500, 500)
        )


def test_order_does_not_depend_on_files(shuffled: dict[str, Any]) -> None:
    """The same rows, exported in another order and into other files, are shuffled to the same order."""
    assert shuffled["ordered"]["shards"] == shuffled["again"]["shards"]


@pytest.mark.parametrize(
    ("folder", "problem"),
    [("mixed_headers", "has another header than"), ("too_many_cells", "Expected 3 columns, got 4")],
)
def test_files_that_do_not_fit_are_refused(shuffled: dict[str, Any], folder: str, problem: str) -> None:
    """Files whose columns differ from another file's or from their header are an error."""
    assert problem in shuffled[folder]["error"]


def test_memory_does_not_follow_the_rows(shuffled: dict[str, Any]) -> None:
    """Twenty times as many rows take no more memory than their batches."""
    many = shuffled["zz_many"]

    assert sum(map(len, many["shards"])) == 400_000
    assert many["bytes"] < 200e6
