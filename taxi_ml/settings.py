"""The settings of a run, checked before anything is submitted."""

from __future__ import annotations

import dataclasses
import re
import shlex
from dataclasses import MISSING, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, TypeVar, get_type_hints

from taxi_ml import cron, dataflow
from taxi_ml.dataflow import BeamArguments, BeamArgumentsError, BeamRunner, Workplace
from taxi_ml.resources import Resources
from taxi_ml.rules import Rule, SettingsError, between, matches, shown_value
from taxi_ml.splits import ExamplesFormat
from taxi_ml.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

PREFIX: Final = "TAXI_"
"""Environment variables with this prefix are settings: TAXI_BUCKET is `bucket`."""

MONTHLY: Final = "0 0 1 * *"
WAIT_DAYS: Final = 14
AUTO_MONTHS: Final = 0
"""The number of test months, `auto` in words, that stands for one that the number of trips decides."""
BY_HAND: Final = "none"
"""The schedule of an installation where runs are only triggered manually."""


class PipelineSchema(StrEnum):
    """The version of the PipelineSpec that is compiled; the newer one unless Vertex AI refuses it."""

    NEWER = "2.1"
    OLDER = "2.0"


class Serve(StrEnum):
    """What a promoted model answers: its own network's fare, or the mean of the last three approved ones."""

    NEWEST = "newest"
    MEAN_OF_3 = "mean_of_3"

    @property
    def earlier(self) -> int:
        """The number of earlier approved models that a new one is averaged with, at most."""
        return 2 if self is Serve.MEAN_OF_3 else 0


class Check(StrEnum):
    """The checks that preflight makes before anything is spent."""

    IDENTITY = "identity"
    MACHINES = "machines"
    DATAFLOW = "dataflow"
    IMAGE = "image"
    BUCKET = "bucket"
    DATASET = "dataset"
    TRIPS = "trips"
    QUERIES = "queries"
    CHAMPION = "champion"


_PROJECT: Final = r"(?:[a-z][a-z0-9.-]*:)?[a-z][-a-z0-9]{4,28}[a-z0-9]"
_TABLE: Final = rf"{_PROJECT}\.[A-Za-z0-9_]{{1,1024}}\.[\w-]{{1,1024}}"
_FULL_TABLE: Final = "name it <project>.<dataset>.<table>"
_MACHINE: Final = matches(r"[a-z][a-z0-9]*(-[a-z0-9]+)+", "name a machine type such as n1-standard-4")
_DISPLAY_NAME: Final = matches(
    r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", "use up to 63 lower-case letters, digits and hyphens"
)
_RESOURCES: Final = Rule(
    lambda _: True,  # what cannot be read is refused while it is read
    "write <component>=cpu:<vCPUs>,memory:<size>,accelerator:<type>x<count>, separated by spaces",
)
_MONTHS: Final = between(1, 240, "months; training ends where testing begins, so they never overlap")
_TEST_MONTHS: Final = Rule(
    between(AUTO_MONTHS, 240, "").accepts,
    f"{_MONTHS.remedy}; or auto, to let the number of trips decide",
    words={"auto": AUTO_MONTHS},
)
_MOST_ROWS: Final = between(0, 10**12, "rows; 0 takes all of them")
_DAYS: Final = between(0, 7500, "days")
_CHECKS: Final = Rule(
    lambda checks: set(checks) <= set(Check),
    f"name checks to leave out, separated by spaces: {', '.join(Check)}",
)
_NO_BEAM_ARGUMENTS: Final = BeamArguments()
_NO_RESOURCES: Final = Resources()
_STEPS: Final = between(1, 10**9, "steps")
_SCHEDULE: Final = Rule(
    lambda text: text == BY_HAND or cron.is_runnable(text),
    "give five cron fields in UTC such as 0 0 1 * *, or none for runs by hand only",
)


_AnySettings = TypeVar("_AnySettings", bound="Settings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that differs between two installations or two runs.

    Build it with `from_environment` or change it with `with_overrides`: both check every rule.
    """

    project: Annotated[str, matches(_PROJECT, "give the id of a Google Cloud project, such as my-project")]
    bucket: Annotated[
        str,
        matches(
            r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[A-Za-z0-9._=-]+)*",
            "write gs://<bucket> or gs://<bucket>/<folder>, without a slash at the end",
        ),
    ]
    pipeline_image: Annotated[
        str,
        matches(
            r"[a-z0-9][a-z0-9._/-]*(:[0-9]+/[a-z0-9._/-]+)?(:[\w.-]{1,128})?(@sha256:[0-9a-f]{64})?",
            "give a container image with registry and tag: <registry>/<project>/taxi/pipeline:1.0",
        ),
    ]
    region: Annotated[str, matches(r"[a-z]+(-[a-z0-9]+)+", "name a region such as us-central1")] = (
        "us-central1"
    )
    service_account: Annotated[
        str,
        matches(r"|[^@\s]+@[^@\s]+\.[^@\s]+", "give the account's e-mail address, or leave it empty"),
    ] = ""

    bigquery_location: Annotated[
        str, matches(r"US|EU|[a-z]+(-[a-z0-9]+)+", "name US, EU or a region such as us-central1")
    ] = "US"
    dataset: Annotated[str, matches(r"[A-Za-z0-9_]{1,1024}", "use letters, digits and underscores")] = "taxi"
    trips_table: Annotated[str, matches(_TABLE, _FULL_TABLE)] = (
        "bigquery-public-data.chicago_taxi_trips.taxi_trips"
    )
    source_table: Annotated[str, matches(f"|{_TABLE}", f"{_FULL_TABLE}, or leave it empty")] = ""
    maximum_bytes_billed: Annotated[int, between(10 * 1024**2, 10**15, "bytes for each query")] = (
        100 * 1024**3
    )

    usd_per_tib: Annotated[float, between(0, 1000, "USD for each TiB that a query reads")] = 6.25
    """BigQuery's on-demand price in US and EU: https://cloud.google.com/bigquery/pricing."""
    query_budget_usd: Annotated[float, between(0, 10**6, "USD for the queries of one run")] = 5.0
    preflight_skip: Annotated[tuple[str, ...], _CHECKS] = ()

    schedule: Annotated[str, _SCHEDULE] = MONTHLY
    parallel_runs: Annotated[int, between(1, 100, "runs of taxi_training at once")] = 1
    """With more than 1, the months of a replay train at once. Of two runs that promote at once, the second is
    refused, because what it was compared with no longer serves."""

    max_fare_usd: Annotated[float, between(1, 10_000, "USD")] = 200.0
    max_trip_miles: Annotated[float, between(1, 10_000, "miles")] = 100.0
    max_trip_hours: Annotated[float, between(0.25, 48, "hours")] = 6.0
    history_months: Annotated[int, between(1, 240, "months of 30 days")] = 12
    train_months: Annotated[int, _MONTHS] = 24
    test_months: Annotated[int, _TEST_MONTHS] = AUTO_MONTHS
    """`AUTO_MONTHS` until the first task of a run has chosen a number; see `taxi_ml.months`."""
    eval_percent: Annotated[int, between(1, 50, "percent of the training window")] = 5
    examples_format: Annotated[
        str, matches("|".join(ExamplesFormat), f"choose one of {', '.join(ExamplesFormat)}")
    ] = ExamplesFormat.CSV.value
    pipeline_schema: Annotated[str, matches(r"2\.[01]", f"choose one of {', '.join(PipelineSchema)}")] = (
        PipelineSchema.NEWER.value
    )
    cache_days: Annotated[
        int, between(1, 3650, "days; fewer by three than the bucket keeps pipeline_root/")
    ] = 30
    """The days for which components may take their outputs from the cache; see `naming.cache_period`."""
    max_train_rows: Annotated[int, _MOST_ROWS] = 1_500_000
    """If there are more, the run trains on a sample of about this size; the eval split shrinks with it."""
    max_test_rows: Annotated[int, _MOST_ROWS] = 300_000
    max_duplicate_percent: Annotated[float, between(0, 100, "percent of the window's trips")] = 1.0
    max_days_without_trips: Annotated[int, _DAYS] = 7
    """Between the first and the last trip of the window."""
    max_days_without_trips_at_end: Annotated[int, _DAYS] = 1
    """From the last trip to the end of the test months."""
    wait_days: Annotated[int, between(0, 60, "days after the window's end; 0 waits for nothing")] = WAIT_DAYS
    """The days after the end of the test months within which their last trips may arrive."""

    train_steps: Annotated[int, between(0, 10**9, "steps; 0 derives them from the rows")] = 0
    batch_size: Annotated[int, between(1, 65_536, "rows")] = 256
    tuner_trials: Annotated[int, between(0, 1000, "trials; 0 turns the Tuner off")] = 7
    tuner_steps: Annotated[int, _STEPS] = 200
    seed: Annotated[int, between(0, 2**31 - 1, "as a seed")] = 20
    serve: Annotated[str, matches("|".join(Serve), f"choose one of {', '.join(Serve)}")] = Serve.NEWEST.value
    beam_runner: Annotated[str, matches("|".join(BeamRunner), f"choose one of {', '.join(BeamRunner)}")] = (
        BeamRunner.AUTO.value
    )
    dataflow_workers: Annotated[int, between(0, 4000, "workers; 0 says that Dataflow is not set up")] = 0
    """The most workers of one Dataflow job."""
    beam_args: Annotated[
        BeamArguments, Rule(lambda _: True, "separate arguments by spaces and begin each with --")
    ] = _NO_BEAM_ARGUMENTS
    """A `--runner=` among them wins over `beam_runner`."""

    machine_type: Annotated[str, _MACHINE] = "n1-standard-4"
    resources: Annotated[Resources, _RESOURCES] = _NO_RESOURCES
    compile_machine_type: Annotated[str, _MACHINE] = "n1-standard-4"
    serving_machine_type: Annotated[str, _MACHINE] = "n1-standard-2"
    model_name: Annotated[str, _DISPLAY_NAME] = "chicago-taxi-fare"
    endpoint_name: Annotated[str, _DISPLAY_NAME] = "chicago-taxi-fare"

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
        return _consistent(cls(**_checked(values, required=_REQUIRED)))

    def with_overrides(self, **chosen: object) -> Self:
        """Return settings with `chosen` fields, each as its own type or as a string.

        Raises:
            SettingsError: for unknown and wrong settings, all of them at once.

        """
        return _consistent(dataclasses.replace(self, **_checked(chosen, required=frozenset())))

    def values(self) -> dict[str, str | int | float | list[str]]:
        """Return every setting as a JSON value; `from_values` of these gives the same settings."""
        hints = get_type_hints(Settings, include_extras=True)
        return {
            field.name: _plain(getattr(self, field.name), hints[field.name].__metadata__[0])
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
            f"setting {_shown('beam_runner')} = 'dataflow' contradicts {_shown('dataflow_workers')} = 0, "
            "which means that Dataflow is not set up; set it to the most workers that a job may have"
        )
    try:
        settings.beam_arguments()
    except BeamArgumentsError as error:
        problems += [f"setting {_shown('beam_args')}: {each}" for each in error.problems]
    if problems:
        raise SettingsError(*problems)
    return settings


def schedule(environ: Mapping[str, str]) -> str | None:
    """Return TAXI_SCHEDULE alone, before all settings are read: cron fields, or None for runs by hand only.

    Raises:
        SettingsError: for any other string.

    """
    given = environ.get(f"{PREFIX}SCHEDULE", MONTHLY)
    chosen: str = _checked({"schedule": given}, required=frozenset())["schedule"]
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
        number: int = _checked(given, required=frozenset())[name]
    except SettingsError:
        return default
    return number


_REQUIRED: Final = frozenset(
    field.name
    for field in dataclasses.fields(Settings)
    if field.default is MISSING and field.default_factory is MISSING
)


def _checked(given: Mapping[str, object], *, required: frozenset[str]) -> dict[str, Any]:
    hints = get_type_hints(Settings, include_extras=True)
    problems = [
        f"setting {_shown(name)} is missing; set it: {hints[name].__metadata__[0].remedy}"
        for name in sorted(required - given.keys())
    ]
    values: dict[str, Any] = {}
    for name, raw in given.items():
        if name not in hints:
            problems.append(
                f"setting {_shown(name)} = {shown_value(raw)} is unknown; remove it or fix the spelling"
            )
            continue
        rule: Rule = hints[name].__metadata__[0]
        try:
            meant = rule.words.get(raw.strip().lower(), raw) if isinstance(raw, str) else raw
            values[name] = _converted(hints[name].__origin__, meant)
            accepted = rule.accepts(values[name])
        except ValueError as error:
            problems.append(f"setting {_shown(name)} = {shown_value(raw)}: {error}")
            continue
        if not accepted:
            problems.append(f"setting {_shown(name)} = {shown_value(raw)} is not accepted; {rule.remedy}")
    if problems:
        raise SettingsError(*problems)
    return values


def _shown(name: str) -> str:
    return f"{name} ({PREFIX}{name.upper()})"


def _converted(kind: Any, raw: object) -> object:  # noqa: ANN401  # a type form: str, int, tuple[str, ...]
    if kind is int and isinstance(raw, int | str) and not isinstance(raw, bool):
        return _whole_number(raw)
    if kind is float and isinstance(raw, int | float | str) and not isinstance(raw, bool):
        return _number(raw)
    if kind is str and isinstance(raw, str):
        return raw.strip()
    if kind in _OF_STRINGS:
        if isinstance(raw, str):
            return _OF_STRINGS[kind](tuple(shlex.split(raw)))
        if isinstance(raw, list | tuple):
            return _OF_STRINGS[kind](tuple(str(argument) for argument in raw))
        if isinstance(raw, BeamArguments | Resources) and type(raw) is kind:
            return raw
    raise ValueError(f"it is of type {type(raw).__name__}; give {_KINDS.get(kind, 'a list of strings')}")


_KINDS: Final = {str: "a string", int: "a whole number", float: "a number"}
_OF_STRINGS: Final[Mapping[Any, Callable[[tuple[str, ...]], object]]] = {
    tuple[str, ...]: tuple,
    BeamArguments: BeamArguments,
    Resources: Resources,
}


def _plain(value: Any, rule: Rule) -> Any:  # noqa: ANN401  # a setting's value; what JSON takes
    if named := [word for word, meant in rule.words.items() if meant == value]:
        return named[0]
    if isinstance(value, BeamArguments | Resources):
        return list(value.texts)
    return list(value) if isinstance(value, tuple) else value


def _whole_number(raw: int | str) -> int:
    if isinstance(raw, str) and not re.fullmatch(r"[+-]?[0-9]{1,100}", raw.strip()):
        raise ValueError("it is not a whole number; give digits only")
    return int(raw)


def _number(raw: float | str) -> float:
    try:
        return float(raw)
    except (ValueError, OverflowError):
        raise ValueError("it is not a number; give one such as 200 or 12.5") from None
