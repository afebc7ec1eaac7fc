from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from local_vertex.run.root_cause import explain_exit, root_cause

if TYPE_CHECKING:
    from pathlib import Path

# As kfp prints what a component is given.
EXECUTOR_INPUT = """Executor input:
{
    "outputs":
    {
        "outputFile": "gs://b"
    }
};"""
LAST_LINES = 'without a message; last lines: Executor input: | "outputs": | "outputFile": "gs://b"'
CHAINED = """
def inner():
    raise KeyError('fare')
def outer():
    try:
        inner()
    except KeyError as error:
        raise RuntimeError('while running Transform') from error
try:
    raise ValueError('an earlier, handled one')
except ValueError:
    import traceback; traceback.print_exc()
outer()
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("raise ValueError('no column fare')", "ValueError: no column fare"),
        (CHAINED, "KeyError: 'fare'"),
        ("import sys; print('starting'); sys.exit('no such file: x.csv')", "no such file: x.csv"),
        ("raise SystemExit(3)", "it wrote nothing"),
        ("raise ValueError('a\\nb')", "ValueError: a"),
    ],
)
def test_the_root_of_the_last_chain_is_found(code: str, expected: str) -> None:
    """The cause is the first exception of the last chain, or the last line without one."""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert root_cause(ended.stdout + ended.stderr) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("raise ValueError('no column fare')", "exit code 1: ValueError: no column fare"),
        (
            "import sys; print('starting'); sys.exit('no such file: x.csv')",
            "exit code 1: no such file: x.csv",
        ),
        ("raise SystemExit(3)", "exit code 3 without a message; it wrote nothing"),
        (f"print({EXECUTOR_INPUT!r}); raise SystemExit(3)", f"exit code 3 {LAST_LINES}"),
        (f"print({EXECUTOR_INPUT!r}); raise SystemExit(1)", f"exit code 1 {LAST_LINES}"),
        (
            "print('cp: no file'); raise SystemExit(2)",
            "exit code 2 without a message; last lines: cp: no file",
        ),
        ("import os; os.abort()", "killed by SIGABRT"),
    ],
)
def test_an_exit_without_a_message_shows_the_last_lines(tmp_path: Path, code: str, expected: str) -> None:
    """Only an exception or the message of `sys.exit` is a cause; other lines may be from earlier work."""
    log = tmp_path / "log.txt"
    with log.open("w") as stream:
        ended = subprocess.run([sys.executable, "-c", code], stdout=stream, stderr=stream, check=False)

    assert explain_exit(ended.returncode, log) == expected
