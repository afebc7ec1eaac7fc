"""The memory that a process and all it started use over time, sampled from the outside."""

from __future__ import annotations

import time
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

_INTERVAL_SECONDS = 0.1


class MemoryUse:
    """Samples of (Unix time, bytes): the resident memory of all processes of a tree, added up."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, int]] = []

    def peak(self, start: float, end: float) -> int:
        """Return the most bytes between two Unix times; 0 without a sample."""
        return max((used for at, used in self._samples if start <= at <= end), default=0)

    def note(self, root: psutil.Process) -> None:
        """Take a sample; none once the root has ended."""
        try:
            tree = (root, *root.children(recursive=True))
        except psutil.NoSuchProcess:
            return
        used = 0
        for process in tree:
            try:
                used += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        self._samples.append((time.time(), used))


@contextmanager
def sampled(pid: int) -> Iterator[MemoryUse]:
    """Sample the process `pid` and all its descendants."""
    use, ended = MemoryUse(), Event()
    root = psutil.Process(pid)

    def sample() -> None:
        while not ended.wait(_INTERVAL_SECONDS):
            use.note(root)

    thread = Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield use
    finally:
        ended.set()
        thread.join()
