"""The part of the machine that this process may use, within the limits of its container."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")
_UNLIMITED: Final = "max"


def cores(cgroups: Path = _CGROUPS) -> int:
    """Return the number of cores it may use at once, at least 1."""
    available = len(os.sched_getaffinity(0))
    return max(1, min(available, math.floor(_quota(cgroups) or available)))


def memory(cgroups: Path = _CGROUPS) -> int:
    """Return how many bytes of memory it shares with the others of its container."""
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _words(cgroups / "memory.max") or _words(cgroups / "memory" / "memory.limit_in_bytes")
    # Version 1 writes no limit as a number beyond any machine's memory.
    return min(available, int(limit[0])) if limit and limit[0] != _UNLIMITED else available


def _quota(cgroups: Path) -> float | None:
    """Return the share of CPU time in cores, None without a limit.

    https://docs.kernel.org/admin-guide/cgroup-v2.html, and cgroup-v1 for machines that still have it.
    """
    if unified := _words(cgroups / "cpu.max"):
        return None if unified[0] == _UNLIMITED else int(unified[0]) / int(unified[1])
    quota, period = (_words(cgroups / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    if not quota or not period or int(quota[0]) <= 0:
        return None
    return int(quota[0]) / int(period[0])


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
