from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.pipeline.requests import PIPELINE_PYTHON, REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.pipeline

FOLDERS = {
    "exported": [1.0, 2.0],
    "again": [2.0, 1.0],
    "changed": [1.0, 2.5],
    "longer": [1.0, 2.0, 2.0],
    "other averages": [1.0, 2.0],
}


def write_csv(path: Path, fares: list[float]) -> None:
    """Write a file as an export in CSV does."""
    path.with_suffix(".csv").write_text("".join(f"{line}\n" for line in ("fare", *fares)))


def write_parquet(path: Path, fares: list[float]) -> None:
    """Write a file as an export in Parquet does, one row per group."""
    parquet.write_table(pa.table({"fare": fares}), path.with_suffix(".parquet"), row_group_size=1)


def test_data_is_known_by_its_rows(tmp_path: Path) -> None:
    """The same rows, written again in another order, have the same fingerprint; other rows have others.

    The table of pair averages is data of the window as well.
    """
    folders = []
    for kind, write in {"csv": write_csv, "parquet": write_parquet}.items():
        for name, fares in FOLDERS.items():
            path = tmp_path / kind / name / "train" / "a"
            path.parent.mkdir(parents=True)
            write(path, fares)
            if name == "other averages":
                (path.parents[1] / "averages").mkdir()
                write_csv(path.parents[1] / "averages" / "pairs_0", [600.0])
            folders.append(tmp_path / kind / name)
    ran = subprocess.run(
        [PIPELINE_PYTHON, "-m", "tests.pipeline.fingerprint", *folders],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        check=True,
        capture_output=True,
        text=True,
    )
    prints = ran.stdout.splitlines()

    for exported, again, *others in (prints[: len(FOLDERS)], prints[len(FOLDERS) :]):
        assert exported == again
        assert len({exported, *others}) == len(FOLDERS) - 1
