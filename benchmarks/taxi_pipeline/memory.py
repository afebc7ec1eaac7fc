"""The memory and CPU time of a process and its descendants over time, sampled from outside."""

from __future__ import annotations

import time
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

_INTERVAL_SECONDS = 0.1


class ProcessUse:
    """Samples of (Unix time, bytes, CPU seconds) of a tree of processes, added up.

    Bytes are resident memory. CPU seconds are those since each process began, and those of its descendants
    that have ended and that were waited for.
    """

    def __init__(self) -> None:
        self._samples: list[tuple[float, int, float]] = []

    def peak(self, start: float, end: float) -> int:
        """Return the peak memory in bytes between two Unix times; 0 without a sample."""
        return max((used for at, used, _ in self._samples if start <= at <= end), default=0)

    def cpu(self, start: float, end: float) -> float:
        """Return the CPU seconds between two Unix times, of the samples around them."""
        before = max((cpu for at, _, cpu in self._samples if at <= start), default=0.0)
        after = [cpu for at, _, cpu in self._samples if at >= end]
        return (after[0] if after else max(cpu for _, _, cpu in self._samples)) - before

    def note(self, root: psutil.Process, *, with_root: bool) -> None:
        """Take a sample; none once the root has ended."""
        try:
            tree = root.children(recursive=True)
            cpu = sum(root.cpu_times()[2:4])
        except psutil.NoSuchProcess:
            return
        used = 0
        for process in (root, *tree) if with_root else tree:
            try:
                times, resident = process.cpu_times(), process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            used += resident
            cpu += sum(times[:2] if process == root else times[:4])
        self._samples.append((time.time(), used, cpu))


@contextmanager
def sampled(pid: int, *, with_root: bool = True) -> Iterator[ProcessUse]:
    """Sample the process `pid` and all its descendants."""
    use, ended = ProcessUse(), Event()
    root = psutil.Process(pid)

    def sample() -> None:
        while not ended.wait(_INTERVAL_SECONDS):
            use.note(root, with_root=with_root)

    thread = Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield use
    finally:
        ended.set()
        thread.join()
