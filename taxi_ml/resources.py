"""The CPUs, memory and accelerators that individual components of the pipeline request."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Component(StrEnum):
    """The components that run in a container; ExampleGen is the name whatever format it reads."""

    EXAMPLE_GEN = "ExampleGen"
    STATISTICS_GEN = "StatisticsGen"
    IMPORT_SCHEMA_GEN = "ImportSchemaGen"
    SCHEMA_GEN = "SchemaGen"
    EXAMPLE_VALIDATOR = "ExampleValidator"
    TRANSFORM = "Transform"
    TUNER = "Tuner"
    TRAINER = "Trainer"
    REFIT = "Refit"
    EVALUATOR = "Evaluator"
    PUSHER = "Pusher"
    REPORT = "Report"


class ResourcesError(ValueError):
    """A string is not a valid request of a component; the message names the part and its syntax."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """An accelerator type as Vertex AI names it, such as NVIDIA_TESLA_T4, and how many of them."""

    type: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentResources:
    """The resources of one component; memory in bytes. None stands for what its machine type has."""

    cpus: float | None = None
    memory: int | None = None
    accelerator: Accelerator | None = None


_FORM: Final = "<component>=cpu:<vCPUs>,memory:<size>,accelerator:<type>x<count>"
_UNITS: Final = {unit: 1000**power for power, unit in enumerate("MGT", start=2)} | {
    f"{unit}i": 1024**power for power, unit in enumerate("MGT", start=2)
}
_NUMBER: Final = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_SIZE: Final = re.compile(rf"({_NUMBER})([MGT]i?)")
_CPUS: Final = re.compile(_NUMBER)
_ACCELERATOR: Final = re.compile(r"((?:NVIDIA|TPU)_[A-Z0-9_]+)x([0-9]{1,4})")


@dataclass(frozen=True, slots=True)
class Resources:
    """Requests of components, such as `Trainer=cpu:8,memory:32G,accelerator:NVIDIA_TESLA_T4x1`, parsed once.

    There is one string for each component. Sizes have a unit: M, G and T are powers of 1000, Mi, Gi and Ti of
    1024.

    Raises:
        ResourcesError: for an unknown component, one that is named twice, and malformed parts.

    """

    texts: tuple[str, ...] = ()
    by_component: Mapping[Component, ComponentResources] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the strings."""
        found: dict[Component, ComponentResources] = {}
        for text in self.texts:
            name, _, wanted = text.partition("=")
            if name not in set(Component):
                raise ResourcesError(
                    f"{text!r} does not begin with a component; write {_FORM}, where the component is one of "
                    f"{', '.join(Component)}"
                )
            component = Component(name)
            if component in found:
                raise ResourcesError(f"{component} is named twice; write all that it asks for in one string")
            found[component] = _resources(wanted, text)
        object.__setattr__(self, "by_component", found)


def _resources(wanted: str, text: str) -> ComponentResources:
    parts = [part.partition(":") for part in wanted.split(",")]
    given = {kind: value for kind, _, value in parts}
    if len(given) < len(parts) or not given.keys() <= {"cpu", "memory", "accelerator"}:
        raise ResourcesError(f"{text!r} cannot be read; write {_FORM}, each part at most once")
    return ComponentResources(
        cpus=_cpus(given["cpu"]) if "cpu" in given else None,
        memory=_memory(given["memory"]) if "memory" in given else None,
        accelerator=_accelerator(given["accelerator"]) if "accelerator" in given else None,
    )


def _cpus(text: str) -> float:
    if not _CPUS.fullmatch(text) or not float(text):
        raise ResourcesError(f"cpu:{text} is not a number of vCPUs; give one above 0, such as cpu:8")
    return float(text)


def _memory(text: str) -> int:
    found = _SIZE.fullmatch(text)
    size = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if not size:
        raise ResourcesError(
            f"memory:{text} is not a size; give a number above 0 with one of the units {', '.join(_UNITS)}, "
            "such as memory:32G"
        )
    return size


def _accelerator(text: str) -> Accelerator:
    found = _ACCELERATOR.fullmatch(text)
    if found is None or not int(found[2]):
        raise ResourcesError(
            f"accelerator:{text} is not an accelerator; give Vertex AI's name of the type and how many, "
            "1 or more, such as accelerator:NVIDIA_TESLA_T4x1"
        )
    return Accelerator(type=found[1], count=int(found[2]))
