"""What containers ask for, what this machine makes of it, and what it says of the rest."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from local_vertex.domain.errors import InvalidArgument
from local_vertex.domain.plan import ContainerExecutor, Resources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_vertex.domain.plan import PlannedTask
    from local_vertex.engine.ports import EngineSettings

NOTE = "local Vertex AI: "
"""How a line of ours at the head of a task's log begins."""

_GIGABYTE = 10**9
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12} | {
    f"{unit}i": 1 << (10 * power) for power, unit in enumerate("KMGT", start=1)
}
_CPU_UNITS = {"": 1.0, "m": 0.001}
_NUMBER = r"(?P<number>\d{1,15}(?:\.\d{1,15})?)"
_QUANTITY = re.compile(rf"{_NUMBER}(?P<unit>[KMGT]i?)?")
_CPU_QUANTITY = re.compile(rf"{_NUMBER}(?P<unit>m)?")


def resources(spec: Any, task: str) -> Resources:  # noqa: ANN401  # proto
    """Read a ResourceSpec; what comes from a parameter counts as not said.

    Raises InvalidArgument for what is no quantity.
    """
    return Resources(
        cpu_request=_cpus(spec, "request", task),
        cpu_limit=_cpus(spec, "limit", task),
        memory_request=_memory(spec, "request", task),
        memory_limit=_memory(spec, "limit", task),
        accelerator=_accelerator(spec.accelerator),
    )


def _cpus(spec: Any, which: str, task: str) -> float | None:  # noqa: ANN401  # proto
    """Return cores: a quantity such as `4` or `500m`, or a number in older specs."""
    text = getattr(spec, f"resource_cpu_{which}")
    if not text or "{{" in text:
        return None if text else getattr(spec, f"cpu_{which}") or None
    match = _CPU_QUANTITY.fullmatch(text)
    if match is None:
        raise InvalidArgument(
            f"the CPUs of task '{task}' are '{text}'; expected a quantity such as 4 or 500m"
        )
    return float(match["number"]) * _CPU_UNITS[match["unit"] or ""]


def _memory(spec: Any, which: str, task: str) -> int | None:  # noqa: ANN401  # proto
    """Return bytes: a quantity such as `3.75G`, or a number of gigabytes in older specs."""
    text = getattr(spec, f"resource_memory_{which}")
    if not text:
        return int(getattr(spec, f"memory_{which}") * _GIGABYTE) or None
    if "{{" in text:
        return None
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise InvalidArgument(
            f"the memory of task '{task}' is '{text}'; expected a quantity such as 4G or 512Mi"
        )
    return int(float(match["number"]) * _UNITS[match["unit"] or ""])


def _accelerator(spec: Any) -> str:  # noqa: ANN401  # proto
    kind = spec.resource_type or spec.type
    count = spec.resource_count or str(spec.count or 1)
    return f"{kind} x {count}" if kind else ""


def asked_by(task: PlannedTask) -> Resources:
    """Return what the container of a task asks for, nothing where it has none."""
    return task.executor.resources if isinstance(task.executor, ContainerExecutor) else Resources()


def expected_memory(asked: Resources, settings: EngineSettings) -> int:
    """Return how many bytes a task is expected to use: what it requests, or else our estimate.

    A limit is no expectation: as a rule it is the size of a machine of the cloud.
    """
    estimate = min(settings.task_memory, asked.memory_limit or settings.task_memory)
    return asked.memory_request or estimate


def expected_cores(asked: Resources) -> int:
    """Return how many cores a task counts as: what it requests, at least one."""
    return max(1, math.ceil(asked.cpu_request or 1))


def unmet(asked: Resources, settings: EngineSettings) -> tuple[str, ...]:
    """Say, a line each, what a container asks for and does not get on this machine."""
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
