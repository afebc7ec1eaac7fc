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
}


def write_csv(path: Path, fares: list[float]) -> None:
    """Write a file as an export in CSV does."""
    path.with_suffix(".csv").write_text("".join(f"{line}\n" for line in ("fare", *fares)))


def write_parquet(path: Path, fares: list[float]) -> None:
    """Write a file as an export in Parquet does, one row per group."""
    parquet.write_table(pa.table({"fare": fares}), path.with_suffix(".parquet"), row_group_size=1)


def test_data_is_known_by_its_rows(tmp_path: Path) -> None:
    """The same rows, written again in another order, have the same fingerprint; other rows have others."""
    folders = []
    for kind, write in {"csv": write_csv, "parquet": write_parquet}.items():
        for name, fares in FOLDERS.items():
            path = tmp_path / kind / name / "train" / "a"
            path.parent.mkdir(parents=True)
            write(path, fares)
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

    for exported, again, changed, longer in (prints[:4], prints[4:]):
        assert exported == again
        assert len({exported, changed, longer}) == 3
