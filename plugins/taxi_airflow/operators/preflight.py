"""Check what a run needs, before it spends anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from taxi_airflow.checks.clients import Subject
from taxi_airflow.checks.findings import Outcome, table
from taxi_airflow.checks.inspection import inspect
from taxi_airflow.runs import run_of
from vertex_airflow.operators.connected import ConnectedOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class PreflightOperator(ConnectedOperator):
    """Look at connection, machines, Dataflow, image, bucket, dataset, trips and queries; log what is found.

    A problem ends the run; a retry asks again what could not be reached. Returns the address of run.json, by
    which a cleared `ValidateOperator` finds it.
    """

    ui_color = "#f1f3f4"

    def execute(self, context: Context) -> str:
        """Check everything, and name all problems at once."""
        run = run_of(context)
        findings = inspect(
            Subject(
                settings=run.settings,
                window=run.window,
                gcp_conn_id=self.gcp_conn_id,
                impersonation_chain=self.impersonation_chain,
            )
        )
        self.log.info("Before anything is spent:\n%s", table(findings))
        failed = [each for each in findings if each.failed]
        if any(each.outcome is Outcome.PROBLEM for each in failed):
            raise AirflowFailException(f"this run cannot start:\n{table(failed)}")
        if failed:
            raise AirflowException(f"not everything could be reached:\n{table(failed)}")
        return run.uri
