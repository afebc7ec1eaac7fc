"""Reads the CPUs, memory and accelerators that containers ask for."""

from __future__ import annotations

import re
from typing import Any

from local_vertex.domain.errors import InvalidArgument
from local_vertex.plan.plan import Resources

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
