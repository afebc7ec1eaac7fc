"""The settings of a run, checked before anything is submitted."""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, dataclass
from typing import TYPE_CHECKING, Final, Self, TypeVar, get_type_hints

from taxi_ml import dataflow
from taxi_ml.dataflow import BeamArgumentsError, BeamRunner, Workplace
from taxi_ml.rules import SettingsError
from taxi_ml.settings.machines import MachineSettings
from taxi_ml.settings.project import BY_HAND, MONTHLY, ProjectSettings
from taxi_ml.settings.reading import PREFIX, checked, plain, shown
from taxi_ml.settings.training import TrainingSettings
from taxi_ml.settings.trips import WAIT_DAYS, TripSettings
from taxi_ml.settings.window import WindowSettings
from taxi_ml.window import Window

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

_AnySettings = TypeVar("_AnySettings", bound="Settings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ProjectSettings, TripSettings, WindowSettings, TrainingSettings, MachineSettings):
    """Everything that differs between two installations or two runs.

    Build it with `from_environment` or change it with `with_overrides`: both check every rule. Each base has
    the fields of one noun, and no slots of its own: Python lays out one base with slots only.
    """

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read every TAXI_ variable of `environ`.

        Raises:
            SettingsError: for unknown, missing and wrong settings, all of them at once.

        """
        given = {
            key.removeprefix(PREFIX).lower(): text for key, text in environ.items() if key.startswith(PREFIX)
        }
        return cls.from_values(given)

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Self:
        """Return the settings that `values` returned; one that is younger than these has its default.

        Raises:
            SettingsError: for unknown, missing and wrong settings, all of them at once.

        """
        return _consistent(cls(**checked(cls, values, required=_REQUIRED)))

    def with_overrides(self, **chosen: object) -> Self:
        """Return settings with `chosen` fields, each as its own type or as a string.

        Raises:
            SettingsError: for unknown and wrong settings, all of them at once.

        """
        return _consistent(dataclasses.replace(self, **checked(Settings, chosen, required=frozenset())))

    def values(self) -> dict[str, str | int | float | list[str]]:
        """Return every setting as a JSON value; `from_values` of these gives the same settings."""
        hints = get_type_hints(Settings, include_extras=True)
        return {
            field.name: plain(getattr(self, field.name), hints[field.name].__metadata__[0])
            for field in dataclasses.fields(self)
        }

    @property
    def runner(self) -> BeamRunner | None:
        """Beam's runner, auto if the rows decide; see `BeamArguments.runner`."""
        return self.beam_args.runner(BeamRunner(self.beam_runner))

    def beam_arguments(self) -> tuple[str, ...]:
        """Return Beam's arguments, completed; see `dataflow.complete`."""
        workplace = Workplace(
            project=self.project,
            region=self.region,
            bucket=self.bucket,
            service_account=self.service_account,
            image=self.pipeline_image,
            workers=self.dataflow_workers,
        )
        return dataflow.complete(self.beam_args, self.runner, workplace)

    def window(self, moment: str | date) -> Window:
        """Return the window of these settings' lengths that ends at `moment`; raises as `Window.ending`.

        It has one test month, the fewest, while their number is `AUTO_MONTHS`.
        """
        return Window.ending(moment, train_months=self.train_months, test_months=self.test_months or 1)


def _consistent(settings: _AnySettings) -> _AnySettings:
    problems = []
    if settings.beam_runner == BeamRunner.DATAFLOW and not settings.dataflow_workers:
        problems.append(
            f"setting {shown('beam_runner')} = 'dataflow' contradicts {shown('dataflow_workers')} = 0, "
            "which means that Dataflow is not set up; set it to the most workers that a job may have"
        )
    try:
        settings.beam_arguments()
    except BeamArgumentsError as error:
        problems += [f"setting {shown('beam_args')}: {each}" for each in error.problems]
    if problems:
        raise SettingsError(*problems)
    return settings


def schedule(environ: Mapping[str, str]) -> str | None:
    """Return TAXI_SCHEDULE alone, before all settings are read: cron fields, or None for runs by hand only.

    Raises:
        SettingsError: for any other string.

    """
    given = environ.get(f"{PREFIX}SCHEDULE", MONTHLY)
    chosen: str = checked(Settings, {"schedule": given}, required=frozenset())["schedule"]
    return None if chosen == BY_HAND else chosen


def wait_days(environ: Mapping[str, str]) -> int:
    """Return TAXI_WAIT_DAYS alone; a wrong one counts as unset, since the first task of a run refuses it."""
    return _lenient(environ, "wait_days", WAIT_DAYS)


def parallel_runs(environ: Mapping[str, str]) -> int:
    """Return TAXI_PARALLEL_RUNS alone; a wrong one counts as unset, as above."""
    return _lenient(environ, "parallel_runs", 1)


def _lenient(environ: Mapping[str, str], name: str, default: int) -> int:
    given = {name: environ.get(f"{PREFIX}{name.upper()}", default)}
    try:
        number: int = checked(Settings, given, required=frozenset())[name]
    except SettingsError:
        return default
    return number


_REQUIRED: Final = frozenset(
    field.name
    for field in dataclasses.fields(Settings)
    if field.default is MISSING and field.default_factory is MISSING
)
