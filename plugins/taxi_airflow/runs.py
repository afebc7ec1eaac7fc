"""One DAG run's settings, window and form, which its first task pins for all others."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Self

import jinja2
from airflow.sdk.definitions.timetables.interval import CronDataIntervalTimetable
from airflow.sdk.exceptions import AirflowFailException

from taxi_ml import naming
from taxi_ml.gate.decision import Override, Verdict
from taxi_ml.gate.policy import load as load_policy
from taxi_ml.gate.reasons import ReasonCode
from taxi_ml.rules import SettingsError
from taxi_ml.settings import AUTO_MONTHS, Settings, schedule, wait_days
from taxi_ml.sizing import plan
from taxi_ml.sql.counts import SplitCounts
from vertex_airflow.labels import job_id
from vertex_airflow.objects import ObjectStore
from vertex_airflow.operators.connected import is_true

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from taxi_ml.sizing import Sizing
    from taxi_ml.window import Window

LONGEST_JOB: Final = timedelta(days=2)
"""The time after which a run's job is canceled."""

PINNED_BY: Final = "validate"
"""The task that pins the run."""

KEPT: Final = "To change a setting, start a new run: this one keeps those with which it began"
"""The last line of an error whose remedy may be a setting."""

CONNECTION: Final = "google_cloud_default"

_SCHEMA_VERSION: Final = 1

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
    """One run of the training DAG, as run.json in the run's folder describes it.

    `conf` is what the run was triggered with, `params` is the form with its defaults. `run_after` is when
    Airflow was to start it: clearing does not change it, and a later run of the same id has another.
    """

    dag_id: str
    run_id: str
    run_after: str
    settings: Settings
    window: Window
    conf: Mapping[str, Any]
    params: Mapping[str, Any]
    override: Override | None

    @classmethod
    def of(
        cls,
        dag_run: Any,  # noqa: ANN401  # Airflow's DagRun
        params: Mapping[str, Any],
        environ: Mapping[str, str] | None = None,
        *,
        choose: Callable[[Settings, Window], int] | None = None,
    ) -> Self:
        """Return what a DAG run with these parameters is about, by the environment as it is now.

        `choose` returns the number of test months where the settings leave it to the number of trips. It is
        called after everything else has been checked; without it there is one.

        Raises:
            SettingsError: for every wrong setting and parameter at once.
            OverrideError: for a reason without codes or the reverse, and for codes that nobody may override.

        """
        settings = Settings.from_environment(os.environ if environ is None else environ).with_overrides(
            **{name: params[name] for name in _OVERRIDES if params.get(name) is not None}
        )
        given = params.get("window_end")
        reason, codes = params.get("override_reason") or "", params.get("override_codes") or []
        person = getattr(dag_run, "triggering_user_name", None) or ""
        override = Override.of(reason, codes, by=person) if reason or codes else None
        window = settings.window(_interval_end(dag_run) if given is None or given == "" else given)
        if settings.test_months == AUTO_MONTHS and choose:
            settings = settings.with_overrides(test_months=choose(settings, window))
            window = window.with_test_months(settings.test_months)
        return cls(
            dag_id=str(dag_run.dag_id),
            run_id=str(dag_run.run_id),
            run_after=str(dag_run.run_after),
            settings=settings,
            window=window,
            conf=dict(dag_run.conf or {}),
            params=dict(params),
            override=override,
        )

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Return the run that `to_json` wrote.

        Raises:
            ValueError: for anything else, such as the run of another version of this package.

        """
        try:
            document = json.loads(content)
            if document["schema_version"] != _SCHEMA_VERSION:
                raise ValueError(f"schema_version is {document['schema_version']!r}, not {_SCHEMA_VERSION}")
            settings = Settings.from_values(document["settings"])
            override = document["override"]
            return cls(
                dag_id=document["dag_id"],
                run_id=document["run_id"],
                run_after=document["run_after"],
                settings=settings,
                window=settings.window(document["window_end"]),
                conf=document["conf"],
                params=document["params"],
                override=Override.of(**override) if override else None,
            )
        except (AttributeError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error

    def to_json(self) -> bytes:
        """Return the document that every later task reads."""
        override = self.override
        document = {
            "schema_version": _SCHEMA_VERSION,
            "dag_id": self.dag_id,
            "run_id": self.run_id,
            "run_after": self.run_after,
            "settings": self.settings.values(),
            "window_end": self.window.end.isoformat(),
            "conf": self.conf,
            "params": self.params,
            "override": override
            and {"reason": override.reason, "codes": sorted(override.codes), "by": override.by},
        }
        return json.dumps(document, indent=2, sort_keys=True).encode()

    @property
    def uri(self) -> str:
        """Where the run is pinned."""
        return naming.run_document_uri(self.settings, job_id(self.dag_id, self.run_id))

    @property
    def labels(self) -> dict[str, str]:
        """The labels of every job of the run."""
        return naming.job_labels(self.dag_id, self.run_id, self.window)

    @property
    def accepted(self) -> frozenset[ReasonCode]:
        """The reasons against a comparison that do not stop it: a run that promotes nothing may be unfair.

        A run that compares with nothing does not look for a champion.
        """
        codes = self.override.codes if self.override else frozenset()
        if not self.params.get("compare", True):
            return codes | {ReasonCode.CHAMPION_MISSING, ReasonCode.CHAMPION_NEWER}
        return codes if self.params.get("promote", True) else codes | {ReasonCode.CHAMPION_NEWER}

    @property
    def compile_name(self) -> str:
        """The display name of the compiler's job."""
        return naming.display_name("compile", self.run_id)

    @property
    def baseline_uri(self) -> str:
        """Where the run records what served before it."""
        return naming.baseline_uri(self.settings, job_id(self.dag_id, self.run_id))

    @property
    def rollout_uri(self) -> str:
        """Where the run records when its model got the traffic."""
        return naming.rollout_uri(self.settings, job_id(self.dag_id, self.run_id))

    def size(self, rows: str) -> Sizing:
        """Return how large the run is, from the number of trips of each split as JSON.

        Raises:
            AirflowFailException: if they are not JSON, or too many.

        """
        try:
            return plan(self.settings, SplitCounts.parse(rows), load_policy().min_rows)
        except ValueError as error:
            raise AirflowFailException(str(error)) from error


@jinja2.pass_context
def run_of(context: Any) -> Run:  # noqa: ANN401  # Airflow's Context, or Jinja's for a template
    """Return the run of this context as its first task pinned it, whatever the environment says now.

    Operators call it with their context; the DAG's templates write ``{{ taxi().settings.region }}``. It reads
    with the connection of the task at hand, which must not be a template.

    Raises:
        AirflowFailException: if the run is not pinned, or by another version of this package.

    """
    ti = context["ti"]
    pinned = ti.xcom_pull(task_ids=PINNED_BY) or {}
    if "run" not in pinned:
        raise AirflowFailException(
            f"{PINNED_BY} has not pinned this run's settings; clear {PINNED_BY}, then this task"
        )
    task = getattr(ti, "task", None)
    chain = getattr(task, "impersonation_chain", None)
    return _pinned(
        pinned["run"],
        getattr(task, "gcp_conn_id", CONNECTION),
        chain if isinstance(chain, str | None) else tuple(chain),
    )


# A task renders a dozen fields and then executes, in one process: it reads the document once. The document
# never changes, so that a process that lives longer reads nothing stale.
@lru_cache(maxsize=16)
def _pinned(uri: str, gcp_conn_id: str, impersonation_chain: str | tuple[str, ...] | None) -> Run:
    store = ObjectStore(gcp_conn_id=gcp_conn_id, impersonation_chain=impersonation_chain)
    return read_run(store, uri)


def read_run(store: ObjectStore, uri: str) -> Run:
    """Return the run that is pinned at this address.

    Raises:
        AirflowFailException: if there is none, or it cannot be read.

    """
    try:
        return Run.from_json(store.read(uri))
    except FileNotFoundError as error:
        raise AirflowFailException(f"{error}; start a new run") from error
    except ValueError as error:
        raise AirflowFailException(
            f"{uri} was not written by this version of taxi_airflow: {error}; start a new run"
        ) from error


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
    """Return when the DAG is scheduled: TAXI_SCHEDULE, whose runs have a data interval, or None for never.

    Every other setting is checked by the first task of a run, whose log shows a person what is wrong.

    Raises:
        SettingsError: for a string that is not a cron expression, or one whose time never comes.

    """
    chosen = schedule(environ)
    return None if chosen is None else CronDataIntervalTimetable(chosen, timezone="UTC")


def longest_run(environ: Mapping[str, str]) -> timedelta:
    """Return the time after which a run is ended: the longest wait for trips, then its longest job."""
    return timedelta(days=wait_days(environ)) + LONGEST_JOB


def next_step(verdict: str, wanted: str) -> str:
    """Return the task or group that follows the gate; ``wanted`` is the form's answer, True or False."""
    if verdict == Verdict.UNCHANGED:
        return "unchanged"
    if verdict != Verdict.PROMOTE:
        return "reject"
    return "promote.register" if is_true(wanted) else "evaluate_only"
