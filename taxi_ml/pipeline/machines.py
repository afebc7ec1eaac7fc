"""What a machine type stands for where a pipeline spec carries sizes, not names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_GB_A_CPU: Final = {"standard": 4.0, "highmem": 8.0, "highcpu": 1.0}
_GB_A_CPU_N1: Final = {"standard": 3.75, "highmem": 6.5, "highcpu": 0.9}


class UnknownMachineTypeError(ValueError):
    """A machine type is none that has its size in its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSize:
    """vCPUs and memory in units of 10^9 bytes, as in a PipelineSpec's `resources`."""

    cpus: float
    memory: float

    @classmethod
    def of(cls, machine_type: str) -> MachineSize:
        """Read the size off a predefined machine type, such as n1-standard-4 or e2-highmem-8.

        Raises:
            UnknownMachineTypeError: for names that do not say their size.

        """
        parts = re.fullmatch(r"([a-z0-9]+)-(standard|highmem|highcpu)-(\d+)", machine_type)
        if parts is None:
            raise UnknownMachineTypeError(
                f"machine type {machine_type!r} does not say its size; "
                "use <family>-<standard, highmem or highcpu>-<vCPUs>, such as n1-standard-4"
            )
        cpus = int(parts[3])
        gigabytes = (_GB_A_CPU_N1 if parts[1] == "n1" else _GB_A_CPU)[parts[2]]
        return cls(cpus=float(cpus), memory=cpus * gigabytes)
