"""Count a window's rows before money is spent on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow.operators.connected import ConnectedOperator
from taxi_airflow.runs import run_of
from taxi_ml import naming, sql

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from taxi_airflow.runs import Run


class CheckRowsOperator(ConnectedOperator):
    """Stop a run whose window has too few trips; log the rows of each split, and those dropped by reason.

    Returns the name of the window's table.
    """

    ui_color = "#aecbfa"

    def execute(self, context: Context) -> str:
        """Count, log, and fail for good when there are too few."""
        run = run_of(context)
        dropped = sql.DroppedTrips.from_row(self._row(run, sql.count_dropped(run.settings, run.window)))
        self.log.info("Window %s: %s", run.window.id, dropped.describe())
        counts = sql.SplitCounts.from_row(self._row(run, sql.count_splits(run.settings, run.window)))
        self.log.info("Rows: train %d, eval %d, test %d", counts.train, counts.eval, counts.test)
        try:
            sql.require_rows(counts, run.settings)
        except sql.TooFewTripsError as error:
            raise AirflowFailException(f"window {run.window.id}: {error}\n  {dropped.describe()}") from error
        return naming.dataset_table(run.settings, run.window)

    def _row(self, run: Run, statement: sql.Statement) -> Mapping[str, Any]:
        from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook  # noqa: PLC0415  # brings pandas

        hook = BigQueryHook(
            gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain, use_legacy_sql=False
        )
        job: Any = hook.insert_job(
            configuration=statement.job_configuration(run.settings, run.labels),
            project_id=run.settings.project,
            location=run.settings.bigquery_location,
        )
        row: Mapping[str, Any] = next(iter(job.result()))
        return row
