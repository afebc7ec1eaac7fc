"""What one DAG run is about: settings, window and labels, from the environment, the form and the interval."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk.definitions.timetables.interval import CronDataIntervalTimetable
from airflow.sdk.exceptions import AirflowFailException

from taxi_ml import naming
from taxi_ml.gate.decision import Override, Verdict
from taxi_ml.rules import SettingsError
from taxi_ml.settings import Settings, schedule, wait_days
from taxi_ml.sizing import plan
from taxi_ml.splits import Split
from taxi_ml.sql.counts import SplitCounts
from vertex_airflow.labels import job_id
from vertex_airflow.operators.connected import is_true

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from taxi_ml.sizing import Sizing
    from taxi_ml.window import Window

LONGEST_JOB: Final = timedelta(days=2)
"""After what time a job of a run is cancelled."""

# Parameters of the form that are settings by the same name.
_OVERRIDES = (
    "train_months",
    "test_months",
    "max_train_rows",
    "max_test_rows",
    "train_steps",
    "tuner_trials",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the training DAG; made again by every task, from the same sources."""

    settings: Settings
    window: Window
    labels: dict[str, str]
    compile_name: str
    baseline_uri: str

    def size(self, rows: str) -> Sizing:
        """Return how large the run is by the trips of each split, which are JSON.

        Raises:
            AirflowFailException: where they are not, or too many.

        """
        try:
            return plan(self.settings, SplitCounts.parse(rows))
        except ValueError as error:
            raise AirflowFailException(str(error)) from error

    @property
    def test_uri(self) -> str:
        """Where the test trips are exported to, ``gs://…/trips_*.csv`` or ``.parquet``."""
        return naming.split_uri(self.settings, self.window, Split.TEST)


def run_of(context: Any) -> Run:  # noqa: ANN401  # Airflow's Context
    """Return what the DAG run of this context is about; raises as `run_for`."""
    return run_for(context["dag_run"], context["params"])


def run_for(
    dag_run: Any,  # noqa: ANN401  # Airflow's DagRun
    params: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
) -> Run:
    """Return what a DAG run with these parameters is about.

    Raises:
        SettingsError: for every wrong setting and parameter at once.

    """
    settings = Settings.from_environment(os.environ if environ is None else environ).with_overrides(
        **{name: params[name] for name in _OVERRIDES if params.get(name) is not None}
    )
    given = params.get("window_end")
    window = settings.window(_interval_end(dag_run) if given is None or given == "" else given)
    dag_id, run_id = str(dag_run.dag_id), str(dag_run.run_id)
    return Run(
        settings=settings,
        window=window,
        labels=naming.job_labels(dag_id, run_id, window),
        compile_name=naming.display_name("compile", run_id),
        baseline_uri=naming.baseline_uri(settings, job_id(dag_id, run_id)),
    )


def override_of(context: Any) -> Override | None:  # noqa: ANN401  # Airflow's Context
    """Return what the form says against reasons of the gate, and who says so; None where it is silent.

    Raises:
        OverrideError: for a reason without codes, codes without a reason, or codes that nobody can override.

    """
    params = context["params"]
    reason, codes = params.get("override_reason") or "", params.get("override_codes") or []
    if not reason and not codes:
        return None
    person = getattr(context["dag_run"], "triggering_user_name", None)
    return Override.of(reason, codes, by=person or "")


def run_in_template(dag_run: Any, params: Mapping[str, Any]) -> Run:  # noqa: ANN401  # Airflow's DagRun
    """Return what a DAG run is about, for a template, which is rendered before any operator can catch.

    Raises:
        AirflowFailException: for wrong settings, which no retry mends.

    """
    try:
        return run_for(dag_run, params)
    except SettingsError as error:
        raise AirflowFailException(str(error)) from error


def _interval_end(dag_run: Any) -> datetime:  # noqa: ANN401  # Airflow's DagRun
    """Return the end of the data interval; a manual run without one ends with the last whole month."""
    end: datetime | None = dag_run.data_interval_end
    if end is None:
        moment: datetime | None = dag_run.run_after or dag_run.start_date
        if moment is None:
            raise SettingsError("window_end is empty and the run has no date; give window_end")
        end = moment
    try:
        return end.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    except OverflowError:
        raise SettingsError(
            f"the data interval ends at {end}, which UTC does not have; give window_end"
        ) from None


def timetable(environ: Mapping[str, str]) -> CronDataIntervalTimetable | None:
    """Return when the DAG runs by itself: TAXI_SCHEDULE, whose runs have a data interval, or None for never.

    Every other setting is checked by the first task of a run, where a person sees what is wrong with it.

    Raises:
        SettingsError: for a string that is not a cron expression, or of a time that never comes.

    """
    chosen = schedule(environ)
    return None if chosen is None else CronDataIntervalTimetable(chosen, timezone="UTC")


def longest_run(environ: Mapping[str, str]) -> timedelta:
    """Return after what time a run is ended: what its pipeline may take, after the longest wait for trips."""
    return timedelta(days=wait_days(environ)) + LONGEST_JOB


def next_step(verdict: str, wanted: str) -> str:
    """Return the task or group that follows the gate; ``wanted`` is the form's answer, True or False."""
    if verdict != Verdict.PROMOTE:
        return "reject"
    return "promote.register" if is_true(wanted) else "evaluate_only"
