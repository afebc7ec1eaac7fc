from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.pipeline.requests import PIPELINE_PYTHON, REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.pipeline

FOLDERS = {
    "exported": {"a.csv": "fare\n1.0\n2.0\n"},
    "again": {"a.csv": "fare\n2.0\n1.0\n"},
    "changed": {"a.csv": "fare\n1.0\n2.5\n"},
    "longer": {"a.csv": "fare\n1.0\n2.0\n2.0\n"},
}


def test_data_is_known_by_its_lines(tmp_path: Path) -> None:
    """The same rows, written again in another order, have the same fingerprint; other rows have others."""
    for folder, files in FOLDERS.items():
        for name, text in files.items():
            path = tmp_path / folder / "train" / name
            path.parent.mkdir(parents=True)
            path.write_text(text)
            os.utime(path, (len(folder), len(folder)))
    ran = subprocess.run(
        [PIPELINE_PYTHON, "-m", "tests.pipeline.fingerprint", *(tmp_path / folder for folder in FOLDERS)],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        check=True,
        capture_output=True,
        text=True,
    )
    exported, again, changed, longer = ran.stdout.splitlines()

    assert exported == again
    assert len({exported, changed, longer}) == 3
