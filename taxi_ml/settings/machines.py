"""The machines of components and of the served model, and the runner of Beam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from taxi_ml.dataflow import BeamArguments, BeamRunner
from taxi_ml.resources import Resources
from taxi_ml.rules import Rule, between, matches

_MACHINE: Final = matches(r"[a-z][a-z0-9]*(-[a-z0-9]+)+", "name a machine type such as n1-standard-4")
_RESOURCES: Final = Rule(
    lambda _: True,  # what cannot be read is refused while it is read
    "write <component>=cpu:<vCPUs>,memory:<size>,accelerator:<type>x<count>, separated by spaces",
)
_NO_BEAM_ARGUMENTS: Final = BeamArguments()
_NO_RESOURCES: Final = Resources()


@dataclass(frozen=True, kw_only=True)
class MachineSettings:
    """Machine types, resources of single components, and Beam's arguments."""

    __slots__ = ()

    machine_type: Annotated[str, _MACHINE] = "n1-standard-4"
    resources: Annotated[Resources, _RESOURCES] = _NO_RESOURCES
    compile_machine_type: Annotated[str, _MACHINE] = "n1-standard-4"
    serving_machine_type: Annotated[str, _MACHINE] = "n1-standard-2"
    beam_runner: Annotated[str, matches("|".join(BeamRunner), f"choose one of {', '.join(BeamRunner)}")] = (
        BeamRunner.AUTO.value
    )
    dataflow_workers: Annotated[int, between(0, 4000, "workers; 0 says that Dataflow is not set up")] = 0
    """The most workers of one Dataflow job."""
    beam_args: Annotated[
        BeamArguments, Rule(lambda _: True, "separate arguments by spaces and begin each with --")
    ] = _NO_BEAM_ARGUMENTS
    """A `--runner=` among them wins over `beam_runner`."""
