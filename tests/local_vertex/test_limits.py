"""The share of the machine that a container's limits leave, read from files as the kernel writes them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from local_vertex import limits

if TYPE_CHECKING:
    from pathlib import Path

CORES = len(os.sched_getaffinity(0))
MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, CORES),
        ({"cpu.max": "max 100000\n"}, CORES),
        ({"cpu.max": "150000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "10000000 100000\n"}, CORES),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, CORES),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_cores_are_whole_ones_within_the_quota(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    """A quota counts in whole cores, at least one and at most the machine's, in both versions of cgroups."""
    assert limits.cores(_write(tmp_path, files)) == cores


@pytest.mark.parametrize(
    ("files", "memory"),
    [
        ({}, MEMORY),
        ({"memory.max": "max\n"}, MEMORY),
        ({"memory.max": "1048576\n"}, 1 << 20),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, MEMORY),
        ({"memory/memory.limit_in_bytes": "2097152\n"}, 1 << 21),
    ],
)
def test_memory_is_the_container_s_limit(tmp_path: Path, files: dict[str, str], memory: int) -> None:
    """A limit below the machine's memory counts, in both versions of cgroups."""
    assert limits.memory(_write(tmp_path, files)) == memory
