"""Beam's arguments: those that a person gives, and those that follow from where a run works."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LABEL: Final = "app=taxi-vertex"
"""On every Dataflow job. It names no window and no run: Beam's arguments are part of the cache's key."""

RUNNER_V2: Final = "use_runner_v2"
"""The runner that supports custom containers.
https://cloud.google.com/dataflow/docs/runner-v2"""

LONGEST: Final = "max_workflow_runtime_walltime_seconds=21600"
"""Six hours, after which Dataflow ends a job: a component would wait for its own job forever.
https://cloud.google.com/dataflow/docs/reference/service-options"""

_WITHOUT_RUNNER_V2: Final = "disable_runner_v2"
_LOCAL: Final = "--direct_"
_IN_PROCESS: Final = frozenset({"direct", "bundlebaseddirect", "fnapi", "switchingdirect"})
"""Beam's runners that keep their work in the process that started them."""
_IMAGE_ALIAS: Final = "--worker_harness_container_image"
_IMAGE: Final = "--sdk_container_image"


class BeamRunner(StrEnum):
    """The place where components that use Beam work; auto: on their own machine while it is large enough."""

    AUTO = "auto"
    LOCAL = "local"
    DATAFLOW = "dataflow"


_ARGUMENTS: Final = {
    BeamRunner.LOCAL: ("--runner=FnApiRunner", "--direct_num_workers=1"),
    BeamRunner.DATAFLOW: ("--runner=DataflowRunner",),
}


class BeamArgumentsError(ValueError):
    """Beam's arguments cannot be read, or contradict the settings; `problems` has each with its remedy."""

    def __init__(self, *problems: str) -> None:
        """Keep every problem, so that a person can fix them all at once."""
        self.problems = problems
        super().__init__("; ".join(problems))


@dataclass(frozen=True, slots=True)
class BeamArguments:
    """Beam's arguments, each `--name=value` or `--name`, read once.

    `values` has the values of each name in the order in which they are given.

    Raises:
        BeamArgumentsError: if one does not begin with two hyphens.

    """

    texts: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the names and values."""
        if not all(text.startswith("--") for text in self.texts):
            raise BeamArgumentsError("separate arguments by spaces and begin each with --")
        values: dict[str, tuple[str, ...]] = {}
        for text in self.texts:
            given, _, value = text.partition("=")
            name = _IMAGE if given == _IMAGE_ALIAS else given
            values[name] = (*values.get(name, ()), value)
        object.__setattr__(self, "values", values)

    def runner(self, chosen: BeamRunner) -> BeamRunner | None:
        """Return where Beam does its work, auto if the rows decide; `chosen` is the setting.

        A runner among the arguments wins: it is None if it runs neither on the component's own machine nor
        on Dataflow. So do arguments that only a runner on one machine understands.
        """
        if "--runner" in self.values:
            if self.names_dataflow:
                return BeamRunner.DATAFLOW
            return BeamRunner.LOCAL if self._last_runner() in _IN_PROCESS else None
        undecided = chosen is BeamRunner.AUTO
        is_local = any(name.startswith(_LOCAL) for name in self.values)
        return BeamRunner.LOCAL if undecided and is_local else chosen

    @property
    def names_dataflow(self) -> bool:
        """True if the last `--runner=` is Dataflow's, by any of the names that Beam accepts."""
        return self._last_runner() == "dataflow"

    def _last_runner(self) -> str:
        """Return the last `--runner=` as Beam compares names: without its path, case and suffix."""
        last = self.values.get("--runner", ("",))[-1]
        return last.rpartition(".")[2].lower().removesuffix("runner")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """The place of a run's Beam jobs: the settings that they must not contradict. No workers: no limit."""

    project: str
    region: str
    bucket: str
    service_account: str
    image: str
    workers: int

    def arguments(self) -> Mapping[str, str]:
        """Return the value of each argument that follows; an empty one leaves the choice to Dataflow."""
        return {
            "--project": self.project,
            "--region": self.region,
            "--temp_location": f"{self.bucket}/dataflow/temp",
            "--staging_location": f"{self.bucket}/dataflow/staging",
            "--service_account_email": self.service_account,
            _IMAGE: self.image,
            "--max_num_workers": str(self.workers or ""),
        }


def complete(own: BeamArguments, runner: BeamRunner | None, workplace: Workplace) -> tuple[str, ...]:
    """Return a person's own arguments, completed.

    That is the runner, local if the rows are still to decide, and for every runner the pipeline image: it has
    what the pipeline's own code imports, and without it each Beam component would pack an archive of TFX for
    the workers, even if there are none. For Dataflow it is also where it runs, as which account, on how many
    workers at most, and under which folders of the bucket it stages.

    Raises:
        BeamArgumentsError: for arguments that contradict the workplace.

    """
    chosen = BeamArguments((*_runner_arguments(own, runner), *own.texts))
    given = chosen.values
    wanted = workplace.arguments()
    if not chosen.names_dataflow:
        image = () if _IMAGE in given else (f"{_IMAGE}={wanted[_IMAGE]}",)
        return (*chosen.texts, *image)
    if problems := [*_repeated(given), *_contradictions(given, wanted, workplace.bucket), *_misplaced(given)]:
        raise BeamArgumentsError(*problems)
    missing = [f"{name}={value}" for name, value in wanted.items() if name not in given and value]
    return (*chosen.texts, *missing, *_dataflow_defaults(given))


def _runner_arguments(own: BeamArguments, runner: BeamRunner | None) -> Sequence[str]:
    if "--runner" in own.values:
        return ()
    arguments = _ARGUMENTS[BeamRunner.DATAFLOW if runner is BeamRunner.DATAFLOW else BeamRunner.LOCAL]
    return [argument for argument in arguments if argument.partition("=")[0] not in own.values]


_SETTINGS: Final = {
    "--project": "project",
    "--region": "region",
    "--service_account_email": "service_account",
    _IMAGE: "pipeline_image",
}
_FOLDERS: Final = ("--temp_location", "--staging_location")


def _repeated(given: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for name in (*_SETTINGS, *_FOLDERS):
        if len(given.get(name, ())) > 1:
            yield f"{name} is given {len(given[name])} times; give it once, or leave it out"


def _contradictions(
    given: Mapping[str, tuple[str, ...]], wanted: Mapping[str, str], bucket: str
) -> Iterator[str]:
    for name, setting in _SETTINGS.items():
        value = given.get(name, ("",))[-1]
        if name in given and wanted[name] and value != wanted[name]:
            yield (
                f"{name}={value} contradicts {setting} (TAXI_{setting.upper()}) = {wanted[name]!r}; "
                "remove the argument, or change the setting"
            )
    for name in _FOLDERS:
        for folder in given.get(name, ()):
            if not folder.startswith(f"{bucket}/"):
                yield f"{name}={folder} is outside of {bucket}; remove it, or name a folder in that bucket"


def _misplaced(given: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for name in given:
        if name.startswith(_LOCAL):
            yield f"{name} is for Beam's single-process runners; remove it for Dataflow"
    if _WITHOUT_RUNNER_V2 in _chosen_experiments(given):
        yield f"--experiments={_WITHOUT_RUNNER_V2} would not run custom containers; remove it"


def _chosen_experiments(given: Mapping[str, tuple[str, ...]]) -> set[str]:
    texts = (*given.get("--experiments", ()), *given.get("--experiment", ()))
    return {experiment for text in texts for experiment in text.split(",")}


def _dataflow_defaults(given: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Yield the defaults of every Dataflow job: Runner v2, the label and the longest time."""
    if RUNNER_V2 not in _chosen_experiments(given):
        yield f"--experiments={RUNNER_V2}"
    if "--labels" not in given and "--label" not in given:
        yield f"--labels={LABEL}"
    option = LONGEST.partition("=")[0]
    # Beam accepts a service option as an experiment too, and both under two names.
    names = ("--dataflow_service_options", "--dataflow_service_option", "--experiments", "--experiment")
    if not any(option in text for name in names for text in given.get(name, ())):
        yield f"--dataflow_service_options={LONGEST}"
