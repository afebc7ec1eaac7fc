"""Finds the line of a log that explains why a command failed."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

from local_vertex.run.capacity import NOTE

if TYPE_CHECKING:
    from pathlib import Path

_TAIL = 256 * 1024
_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(:.*)?")
_LIMIT = 500
_LAST_LINES = 3
_WORD = re.compile(r"[^\W\d_]{2}")


def root_cause(log: str) -> str:
    """Return the exception that began the last chain of tracebacks in `log`, or else its last line.

    Python prints a chain from its root to the last exception; the root is the actual cause.
    """
    spoken = _spoken(log)
    return _exception(log) or (spoken[-1][:_LIMIT] if spoken else "it wrote nothing")


def _spoken(log: str) -> list[str]:
    return [line.strip() for line in log.splitlines() if line.strip() and not line.startswith(NOTE)]


def _exception(log: str) -> str:
    lines = log.splitlines()
    starts = [number for number, line in enumerate(lines) if line == _TRACEBACK]
    return _exception_after(lines, _first_of_chain(lines, starts))[:_LIMIT] if starts else ""


def _first_of_chain(lines: list[str], starts: list[int]) -> int:
    first = starts[-1]
    for earlier in reversed(starts[:-1]):
        between = lines[earlier + 1 : first]
        if not any(line in _CHAINED for line in between):
            break
        first = earlier
    return first


def _exception_after(lines: list[str], start: int) -> str:
    """Return the exception's line: the first one after the frames, which are indented."""
    for number in range(start + 1, len(lines)):
        line = lines[number]
        if line and not line[0].isspace() and _EXCEPTION.match(line):
            return line.strip()
    return ""


def explain_exit(code: int, log_path: Path) -> str:
    """Return why a command that exited with `code` failed, in one line."""
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (" (out of memory?)" if -code == signal.SIGKILL else "")
    log = tail(log_path)
    spoken = _spoken(log)
    # `sys.exit(message)` prints the message last and exits with 1; for other codes nothing marks a message.
    if _exception(log) or (spoken and code == 1 and _WORD.search(spoken[-1])):
        return f"exit code {code}: {root_cause(log)}"
    told = [line for line in spoken if _WORD.search(line)][-_LAST_LINES:]
    last = f"last lines: {' | '.join(told)[-_LIMIT:]}" if told else "it wrote nothing"
    return f"exit code {code} without a message; {last}"


def tail(path: Path, size: int = _TAIL) -> str:
    """Return the last `size` bytes of a log as text; empty when there is no log."""
    if not path.exists():
        return ""
    with path.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - size))
        return log.read().decode(errors="replace")
