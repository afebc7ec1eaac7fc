"""Beam's arguments, those for Dataflow above all, as far as they follow from the settings."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from taxi_ml.settings import Settings

LABEL: Final = "app=taxi-vertex"
"""On every Dataflow job. It names no window and no run: Beam's arguments are part of the cache's key."""

RUNNER_V2: Final = "use_runner_v2"
"""What runs custom containers.
https://cloud.google.com/dataflow/docs/runner-v2"""

LONGEST: Final = "max_workflow_runtime_walltime_seconds=21600"
"""Six hours, after which Dataflow ends a job: a component waits for its own without an end.
https://cloud.google.com/dataflow/docs/reference/service-options"""

_WITHOUT_RUNNER_V2: Final = "disable_runner_v2"
_LOCAL: Final = "--direct_"
_IN_PROCESS: Final = frozenset({"direct", "bundlebaseddirect", "fnapi", "switchingdirect"})
"""Beam's runners that keep what they work on in the process that started them."""
_IMAGE_ALIAS: Final = "--worker_harness_container_image"
_IMAGE: Final = "--sdk_container_image"


class BeamRunner(StrEnum):
    """Where the components that use Beam do their work; auto: on their own machine while it is enough."""

    AUTO = "auto"
    LOCAL = "local"
    DATAFLOW = "dataflow"


_ARGUMENTS: Final = {
    BeamRunner.LOCAL: ("--runner=FnApiRunner", "--direct_num_workers=1"),
    BeamRunner.DATAFLOW: ("--runner=DataflowRunner",),
}


class DataflowError(ValueError):
    """Beam's arguments contradict the settings; `problems` has each with its remedy."""

    def __init__(self, *problems: str) -> None:
        """Keep every problem, so that a person mends them all at once."""
        self.problems = problems
        super().__init__("; ".join(problems))


def runs_on_dataflow(beam_args: Sequence[str]) -> bool:
    """Whether the last `--runner=` among the arguments is Dataflow's, by any of the names that Beam knows."""
    return _runner(beam_args) == "dataflow"


def _runner(beam_args: Sequence[str]) -> str:
    """Return the last `--runner=` as Beam compares names: without path, case and ending."""
    runners = [value for name, value in map(_parts, beam_args) if name == "--runner"]
    last = runners[-1].rpartition(".")[2].lower() if runners else ""
    return last.removesuffix("runner")


def runner_of(settings: Settings) -> BeamRunner | None:
    """Return where Beam's work is done by these settings, auto where the rows decide.

    The arguments win over `beam_runner`: by a runner, which is None where it is neither on the component's
    machine nor Dataflow, and by those of a runner on one machine.
    """
    given = _given(settings.beam_args)
    if "--runner" in given:
        if runs_on_dataflow(settings.beam_args):
            return BeamRunner.DATAFLOW
        return BeamRunner.LOCAL if _runner(settings.beam_args) in _IN_PROCESS else None
    chosen = BeamRunner(settings.beam_runner)
    undecided = chosen is BeamRunner.AUTO
    return BeamRunner.LOCAL if undecided and any(name.startswith(_LOCAL) for name in given) else chosen


def beam_arguments(settings: Settings) -> tuple[str, ...]:
    """Return the settings' Beam arguments with what they leave out; a runner that the rows decide is local.

    That is the runner, and for every runner the pipeline image: it has what the pipeline's own code imports,
    and without it each Beam component would pack an archive of TFX for the workers, whether there are any or
    not. For Dataflow it is also where it runs, as whom, on how many workers at most, and below which folders
    of the bucket it stages.

    Raises:
        DataflowError: for arguments that contradict the settings.

    """
    chosen = (*_runner_arguments(settings), *settings.beam_args)
    given = _given(chosen)
    wanted = _wanted(settings)
    if not runs_on_dataflow(chosen):
        image = () if _IMAGE in given else (f"{_IMAGE}={wanted[_IMAGE]}",)
        return (*chosen, *image)
    if problems := [*_repeated(given), *_contradictions(given, wanted, settings), *_misplaced(given)]:
        raise DataflowError(*problems)
    missing = [f"{name}={value}" for name, value in wanted.items() if name not in given and value]
    return (*chosen, *missing, *_experiments(given), *_labels(given), *_end(given))


def _runner_arguments(settings: Settings) -> tuple[str, ...]:
    given = _given(settings.beam_args)
    if "--runner" in given:
        return ()
    runner = runner_of(settings)
    arguments = _ARGUMENTS[BeamRunner.DATAFLOW if runner is BeamRunner.DATAFLOW else BeamRunner.LOCAL]
    return tuple(argument for argument in arguments if _parts(argument)[0] not in given)


def _parts(argument: str) -> tuple[str, str]:
    name, _, value = argument.partition("=")
    return name, value


def _given(beam_args: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    given: dict[str, tuple[str, ...]] = {}
    for name, value in map(_parts, beam_args):
        known = _IMAGE if name == _IMAGE_ALIAS else name
        given[known] = (*given.get(known, ()), value)
    return given


def _wanted(settings: Settings) -> Mapping[str, str]:
    return {
        "--project": settings.project,
        "--region": settings.region,
        "--temp_location": f"{settings.bucket}/dataflow/temp",
        "--staging_location": f"{settings.bucket}/dataflow/staging",
        "--service_account_email": settings.service_account,
        _IMAGE: settings.pipeline_image,
        "--max_num_workers": str(settings.dataflow_workers or ""),
    }


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
    given: Mapping[str, tuple[str, ...]], wanted: Mapping[str, str], settings: Settings
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
            if not folder.startswith(f"{settings.bucket}/"):
                yield f"{name}={folder} is outside of {settings.bucket}; remove it, or name a folder in there"


def _misplaced(given: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for name in given:
        if name.startswith(_LOCAL):
            yield f"{name} is for Beam's runners in one process; remove it for Dataflow"
    if _WITHOUT_RUNNER_V2 in _chosen_experiments(given):
        yield f"--experiments={_WITHOUT_RUNNER_V2} would run no custom container; remove it"


def _chosen_experiments(given: Mapping[str, tuple[str, ...]]) -> set[str]:
    texts = (*given.get("--experiments", ()), *given.get("--experiment", ()))
    return {experiment for text in texts for experiment in text.split(",")}


def _experiments(given: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    if RUNNER_V2 not in _chosen_experiments(given):
        yield f"--experiments={RUNNER_V2}"


def _labels(given: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    if "--labels" not in given and "--label" not in given:
        yield f"--labels={LABEL}"


def _end(given: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    option = LONGEST.partition("=")[0]
    names = ("--dataflow_service_options", "--dataflow_service_option", "--experiments", "--experiment")
    if not any(option in text for name in names for text in given.get(name, ())):
        yield f"--dataflow_service_options={LONGEST}"
