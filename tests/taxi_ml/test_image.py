from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import taxi_ml
from taxi_ml.image import Label, labels


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A package of one module and its bytecode, with its lock beside it."""
    package = tmp_path / "package"
    (package / "__pycache__").mkdir(parents=True)
    (package / "a.py").write_text("a = 1\n")
    (package / "__pycache__" / "a.pyc").write_bytes(b"1")
    (tmp_path / "lock.txt").write_text("six==1\n")
    return package


def both(code: Path) -> dict[Label, str]:
    """Return the labels of the package and its lock."""
    return labels(code, code.parent / "lock.txt")


def test_content_and_names_count(code: Path) -> None:
    """Another content or name of a file changes the label of the code, not that of the lock."""
    before = both(code)

    (code / "a.py").rename(code / "b.py")

    after = both(code)
    assert before[Label.CODE] != after[Label.CODE]
    assert before[Label.LOCK] == after[Label.LOCK]


def test_what_is_not_deployed_does_not_count(code: Path) -> None:
    """Bytecode, hidden files and the package's location change nothing."""
    before = both(code)
    (code / "__pycache__" / "b.pyc").write_bytes(b"2")
    (code / ".hidden").write_text("3")

    after = both(code.rename(code.with_name("moved")))

    assert before == after


def test_the_lock_counts(code: Path) -> None:
    """Another lock changes the label of the lock only."""
    before = both(code)

    (code.parent / "lock.txt").write_text("six==2\n")

    after = both(code)
    assert [label for label in Label if before[label] != after[label]] == [Label.LOCK]


def test_the_command_prints_what_docker_takes() -> None:
    """Each line is key=value."""
    folder = Path(taxi_ml.__file__).parents[1]

    printed = subprocess.run(
        [sys.executable, "-m", "taxi_ml.image"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout

    assert dict(line.split("=") for line in printed.splitlines()) == labels()
