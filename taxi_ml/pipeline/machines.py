"""The sizes in a pipeline spec that machine types and the settings of single components stand for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from taxi_ml.resources import Component, ComponentResources

if TYPE_CHECKING:
    from collections.abc import Mapping

_GIGABYTE: Final = 10**9
_EXECUTOR: Final = "_executor"
_GB_A_CPU: Final = {"standard": 4.0, "highmem": 8.0, "highcpu": 1.0}
_GB_A_CPU_N1: Final = {"standard": 3.75, "highmem": 6.5, "highcpu": 0.9}


# vCPUs by family: https://cloud.google.com/vertex-ai/docs/training/configure-compute and, for serving,
# https://cloud.google.com/vertex-ai/docs/predictions/configure-compute.
_VCPUS: Final = {
    "e2": frozenset({2, 4, 8, 16, 32}),
    "n1": frozenset({2, 4, 8, 16, 32, 64, 96}),
    "n2": frozenset({2, 4, 8, 16, 32, 48, 64, 80, 96, 128}),
    "n2d": frozenset({2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 224}),
    "c2": frozenset({4, 8, 16, 30, 60}),
    "c2d": frozenset({2, 4, 8, 16, 32, 56, 112}),
    "c3": frozenset({4, 8, 22, 44, 88, 176}),
}


class UnknownMachineTypeError(ValueError):
    """A machine type does not have its size in its name, or is not offered by Vertex AI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSize:
    """vCPUs and memory in units of 10^9 bytes, as in a PipelineSpec's `resources`."""

    cpus: float
    memory: float

    @classmethod
    def of(cls, machine_type: str) -> MachineSize:
        """Read the size off a predefined machine type, such as n1-standard-4 or e2-highmem-8.

        Raises:
            UnknownMachineTypeError: for names without a size.

        """
        parts = re.fullmatch(r"([a-z0-9]+)-(standard|highmem|highcpu)-(\d+)", machine_type)
        if parts is None:
            raise UnknownMachineTypeError(
                f"machine type {machine_type!r} has no size in its name; "
                "use <family>-<standard, highmem or highcpu>-<vCPUs>, such as n1-standard-4"
            )
        cpus = int(parts[3])
        gigabytes = (_GB_A_CPU_N1 if parts[1] == "n1" else _GB_A_CPU)[parts[2]]
        return cls(cpus=float(cpus), memory=cpus * gigabytes)


def sized(
    job: dict[str, Any], machine: MachineSize, wishes: Mapping[Component, ComponentResources]
) -> dict[str, Any]:
    """Request the machine in every container of a compiled job, unless a component has its own settings.

    TFX would leave its `platform_config` out of ExampleGens. A component's own setting is a request as well
    as a limit, because it states a need; a machine type only states a size.
    """
    for label, executor in job["pipelineSpec"]["deploymentSpec"]["executors"].items():
        if "container" in executor:
            name = label.removesuffix(_EXECUTOR)
            # Which ExampleGen a pipeline has depends on the format of the export.
            is_example_gen = name.endswith(Component.EXAMPLE_GEN)
            component = Component.EXAMPLE_GEN if is_example_gen else Component(name)
            wish = wishes.get(component, ComponentResources())
            executor["container"]["resources"] = _resource_spec(machine, wish)
    return job


def _resource_spec(machine: MachineSize, wish: ComponentResources) -> dict[str, Any]:
    """Return a ResourceSpec: memory in units of 10^9 bytes, 64-bit integers as strings."""
    limits = {"cpuLimit": machine.cpus, "memoryLimit": machine.memory}
    if wish.cpus is not None:
        limits |= {"cpuLimit": wish.cpus, "cpuRequest": wish.cpus}
    if wish.memory is not None:
        limits |= {"memoryLimit": wish.memory / _GIGABYTE, "memoryRequest": wish.memory / _GIGABYTE}
    if wish.accelerator is None:
        return limits
    accelerator = {"type": wish.accelerator.type, "count": str(wish.accelerator.count)}
    return {**limits, "accelerator": accelerator}


def offered_vcpus(machine_type: str) -> int:
    """Return the vCPUs of a machine type without accelerators that Vertex AI offers.

    Raises:
        UnknownMachineTypeError: for any other name.

    """
    cpus = int(MachineSize.of(machine_type).cpus)
    family = machine_type.partition("-")[0]
    if cpus not in _VCPUS.get(family, ()):
        near = f"{family}-standard-4" if family in _VCPUS else "n1-standard-4"
        raise UnknownMachineTypeError(
            f"Vertex AI does not offer machine type {machine_type!r}; use one such as {near} "
            f"(families {', '.join(_VCPUS)})"
        )
    return cpus
