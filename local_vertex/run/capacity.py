"""Compares the resources that containers request with those of this machine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from local_vertex.plan.plan import ContainerExecutor, Resources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_vertex.plan.plan import PlannedTask
    from local_vertex.run.ports import EngineSettings

NOTE = "local Vertex AI: "
"""The beginning of the lines that we write at the head of a task's log."""

_GIGABYTE = 10**9


def asked_by(task: PlannedTask) -> Resources:
    """Return the resources that a task's container requests; none for a task without a container."""
    return task.executor.resources if isinstance(task.executor, ContainerExecutor) else Resources()


def expected_memory(asked: Resources, settings: EngineSettings) -> int:
    """Return the expected memory of a task in bytes: its request, or else our estimate.

    A limit says little about the use: as a rule it is the size of a machine in the cloud.
    """
    estimate = min(settings.task_memory, asked.memory_limit or settings.task_memory)
    return asked.memory_request or estimate


def expected_cores(asked: Resources) -> int:
    """Return the number of cores that a task counts as: its request, at least one."""
    return max(1, math.ceil(asked.cpu_request or 1))


def unmet(asked: Resources, settings: EngineSettings) -> tuple[str, ...]:
    """Return a line for each resource that a container requests and does not get on this machine."""
    return tuple(_unmet(asked, settings))


def _unmet(asked: Resources, settings: EngineSettings) -> Iterator[str]:
    if asked.accelerator:
        yield f"accelerator {asked.accelerator} is ignored: tasks have this machine's CPUs only"
    if expected_cores(asked) > settings.cores:
        yield (
            f"a request of {asked.cpu_request:g} CPUs is more than the {settings.cores} that tasks share: "
            "it runs alone"
        )
    if settings.memory is not None and (asked.memory_request or 0) > settings.memory:
        yield (
            f"a request of {_gigabytes(asked.memory_request)} of memory is more than the "
            f"{_gigabytes(settings.memory)} that tasks share: it runs alone"
        )
    if asked.cpu_limit is not None:
        yield f"a limit of {asked.cpu_limit:g} CPUs is not enforced: tasks share {settings.cores}"
    if asked.memory_limit is not None:
        yield f"a limit of {_gigabytes(asked.memory_limit)} of memory is not enforced"


def _gigabytes(size: int | None) -> str:
    return f"{(size or 0) / _GIGABYTE:.3g} GB"
