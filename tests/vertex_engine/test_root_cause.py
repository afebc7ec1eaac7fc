from __future__ import annotations

import subprocess
import sys

import pytest

from local_gcp.vertex.engine.root_cause import root_cause

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
