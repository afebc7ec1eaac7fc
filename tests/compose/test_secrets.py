"""Tests of the passwords and keys that the containers share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

SCRIPT: Final = Path(__file__).parents[2] / "deploy" / "docker" / "make_secrets.py"


def _make(folder: Path, password: str = "") -> dict[str, str]:
    environment = {**os.environ, "AIRFLOW_ADMIN_PASSWORD": password}
    subprocess.run([sys.executable, str(SCRIPT), str(folder)], env=environment, check=True)
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_secrets_stay_when_made_again(tmp_path: Path) -> None:
    """A second start changes nothing: the database keeps its password, and sessions stay valid."""
    assert _make(tmp_path) == _make(tmp_path)


def test_no_two_installations_have_the_same_secrets(tmp_path: Path) -> None:
    """Every password and key is random."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()

    assert set(_make(first).values()) & set(_make(second).values()) == set()


def test_only_the_owner_reads_secrets(tmp_path: Path) -> None:
    """Each file has mode 0600."""
    _make(tmp_path)

    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_admin_password_can_be_chosen_later(tmp_path: Path) -> None:
    """A password from .env replaces the generated one, and nothing else."""
    before = _make(tmp_path)
    after = _make(tmp_path, "my own")

    assert json.loads(after.pop("passwords.json")) == {"admin": "my own"}
    assert before.items() >= after.items()
