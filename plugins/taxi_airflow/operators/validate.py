"""Refuse a run that cannot start, before it spends anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from taxi_airflow.checks import Subject, inspect
from taxi_airflow.findings import Status, failure, table
from taxi_airflow.months import choose
from taxi_airflow.runs import KEPT, Run, read_run, run_of
from taxi_ml import naming
from taxi_ml.gate.decision import OverrideError
from taxi_ml.gate.policy import PolicyError
from taxi_ml.gate.policy import load as load_policy
from taxi_ml.rules import SettingsError
from taxi_ml.sizing import caps_too_low
from vertex_airflow.operators.connected import ConnectedOperator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import Context

    from taxi_ml.settings import Settings
    from taxi_ml.window import Window


class ValidateOperator(ConnectedOperator):
    """Check settings, parameters and the gate's policy, and pin them in the run's folder for all other tasks.

    Everything that is wrong is named at once, each with its value and remedy, and no retry is made. Returns
    ``{"run", "window", "dataset", "splits", "region", "endpoint_name", "baseline_uri"}``: the address of
    run.json, the window's id and the names of its table and folder, and what a roll-back has to know, which
    must not depend on reading run.json.

    Where the settings leave the number of test months to the trips, it counts them, looks up what the model
    in production was trained on, and pins what it has chosen: everything later is named by that window.

    run.json is written once: another try, or a cleared task, keeps the one that is there. A changed setting
    takes effect in a new run, because half of this one would have been made with the old value.
    """

    ui_color = "#f1f3f4"

    def execute(self, context: Context) -> dict[str, str]:
        """Check and pin."""
        run = self._pinned_before(context) or self._pin(context)
        dag_run = context["dag_run"]
        if (run.conf, run.run_after) != (dag_run.conf or {}, str(dag_run.run_after)):
            raise AirflowFailException(
                f"{run.uri} belongs to an earlier run of this id, of {run.run_after}; trigger a new run"
            )
        self.log.info(
            "Train on %s to %s, test until %s",
            run.window.train_start,
            run.window.test_start,
            run.window.end,
        )
        return {
            "run": run.uri,
            "window": run.window.id,
            "dataset": naming.dataset_table(run.settings, run.window),
            "splits": naming.data_uri(run.settings, run.window),
            "region": run.settings.region,
            "endpoint_name": run.settings.endpoint_name,
            "baseline_uri": run.baseline_uri,
        }

    def _pinned_before(self, context: Context) -> Run | None:
        """Return the run that later tasks have worked with, even if TAXI_BUCKET has changed since.

        Airflow deletes what a cleared task returned as soon as it starts, but not yet what the next one did.
        """
        uri = context["ti"].xcom_pull(task_ids="preflight")
        if not uri:
            return None
        self.log.info("Kept %s: changed settings take effect in a new run", uri)
        return read_run(self.store(), str(uri))

    def _pin(self, context: Context) -> Run:
        run = self._checked(context)
        try:
            store = self.store()
            if not store.write_once(run.uri, run.to_json(), content_type="application/json"):
                self.log.info("Kept %s: changed settings take effect in a new run", run.uri)
            # Whoever was first has pinned the run, and it need not have been this try.
            return read_run(store, run.uri)
        except AirflowFailException:
            raise
        except Exception as error:
            raise _refusal("bucket", f"{run.uri} cannot be written", error) from error

    def _checked(self, context: Context) -> Run:
        problems = list(_unknown(context))
        run = None
        try:
            choose = None if problems else self._choose_test_months
            run = Run.of(context["dag_run"], context["params"], choose=choose)
            problems += caps_too_low(run.settings, load_policy().min_rows)
        except (SettingsError, PolicyError, OverrideError) as error:
            problems += getattr(error, "problems", (str(error),))
        if problems or run is None:
            raise AirflowFailException("\n  ".join(("this run cannot start:", *problems)))
        return run

    def _choose_test_months(self, settings: Settings, window: Window) -> int:
        subject = Subject(
            settings=settings,
            window=window,
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=self.impersonation_chain,
        )
        try:
            choice = choose(subject)
        except (SettingsError, PolicyError):
            raise
        except Exception as error:
            what = (
                "the trips cannot be counted to choose test_months (TAXI_TEST_MONTHS), which a number spares"
            )
            raise _refusal("trips", what, error) from error
        self.log.info("%s", choice.describe())
        return choice.months


class PreflightOperator(ConnectedOperator):
    """Check what the run needs of Google Cloud and what it would be compared with, and log the findings.

    A problem ends the run; a retry asks again what could not be reached. Returns the address of run.json, by
    which a cleared `ValidateOperator` finds it.
    """

    ui_color = "#f1f3f4"

    def execute(self, context: Context) -> str:
        """Check everything, and report all problems at once."""
        run = run_of(context)
        # Before the checks: a cleared validate needs the address even if they fail.
        context["ti"].xcom_push(key="return_value", value=run.uri)
        findings = inspect(
            Subject(
                settings=run.settings,
                window=run.window,
                baseline_uri=run.baseline_uri,
                accepted=run.accepted,
                gcp_conn_id=self.gcp_conn_id,
                impersonation_chain=self.impersonation_chain,
            )
        )
        self.log.info("Before anything is spent:\n%s", table(findings))
        failed = [each for each in findings if each.failed]
        if any(each.status is Status.PROBLEM for each in failed):
            raise AirflowFailException(f"this run cannot start:\n{table(failed)}\n{KEPT}")
        if failed:
            raise AirflowException(f"not everything could be reached:\n{table(failed)}")
        return run.uri


def _refusal(subject: str, what: str, error: Exception) -> Exception:
    """Return the error that ends the run for good, or one for another try if that may get further."""
    found = failure(subject, error)
    if found.status is Status.UNREACHED:
        return AirflowException(f"{what}: {found.text}")
    return AirflowFailException(f"this run cannot start: {what}: {found.text}; {found.remedy}")


def _unknown(context: Context) -> Iterator[str]:
    """Yield a problem for each parameter that the DAG does not have: Airflow accepts and ignores it."""
    known = context["dag"].params.keys()
    for name in sorted((context["dag_run"].conf or {}).keys() - known):
        yield f"parameter {name!r} is unknown; remove it, or choose from {', '.join(sorted(known))}"
