"""A state file that cannot be used: the server names it with a remedy, and leaves it as it is."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from local_vertex.store import StateUnreadableError, Store
from tests.local_vertex.servers import PROJECT, REGION
from tests.local_vertex.test_process import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PAGE = 4096


def not_a_database(path: Path) -> None:
    """Write a file that is not SQLite."""
    path.write_bytes(b"not a database" * _PAGE)


def a_damaged_page(path: Path) -> None:
    """Write a state, then zeros over all pages but the first."""
    with closing(Store(path)) as store:
        for number in range(50):
            store.insert("Model", f"m{number}", "p", b"x" * 1000)
    content = path.read_bytes()
    path.write_bytes(content[:_PAGE] + b"\0" * (len(content) - _PAGE))


def a_cut_file(path: Path) -> None:
    """Write a state and lose its second half, as on a full disk."""
    a_damaged_page(path)
    path.write_bytes(path.read_bytes()[: 2 * _PAGE])


def another_program(path: Path) -> None:
    """Write a table of the same name with other columns."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE resources (a TEXT)")


def another_resource(path: Path) -> None:
    """Write a pipeline job that is not one."""
    with closing(Store(path)) as store:
        store.insert("PipelineJob", "j", "p", b"\xff")


DAMAGES = [not_a_database, a_damaged_page, a_cut_file, another_program, another_resource]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_the_server_names_the_file_and_the_remedy(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """The server ends with one line, and the file is as it was."""
    file = tmp_path / "vertex.sqlite"
    damage(file)
    before = file.read_bytes()
    images = tmp_path / "images.json"
    images.write_text("[]")
    command = [sys.executable, "-m", "local_vertex", "--state", str(tmp_path), "--no-warm"]
    command += ["--gcs-root", str(tmp_path), "--images", str(images), "--project", PROJECT]
    ended = subprocess.run(
        [*command, "--region", REGION],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert f"vertex: {file} is not a readable state of the local Vertex AI" in ended.stderr
    assert "move it away" in ended.stderr
    assert file.read_bytes() == before


def test_a_file_that_was_moved_away_can_be_made_anew(tmp_path: Path) -> None:
    """A file that was refused is not locked."""
    file = tmp_path / "vertex.sqlite"
    not_a_database(file)
    with pytest.raises(StateUnreadableError):
        Store(file)
    file.unlink()

    with closing(Store(file)) as store:
        assert store.bodies("Model") == []


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    """A state that cannot be opened is named too."""
    (tmp_path / "state").touch()

    with pytest.raises(StateUnreadableError, match=f"{tmp_path}/state/vertex.sqlite cannot be opened"):
        Store(tmp_path / "state" / "vertex.sqlite")
