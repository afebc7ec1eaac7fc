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
    """Stop a run whose window has too few trips, too many copies of them, or too many days without any.

    It logs the rows of each split, those dropped by reason, and the days without trips. Returns the name of
    the window's table.
    """

    ui_color = "#aecbfa"

    def execute(self, context: Context) -> str:
        """Count, log, and fail for good when there are too few."""
        run = run_of(context)
        (dropped_row,) = self._rows(run, sql.count_dropped(run.settings, run.window))
        dropped = sql.DroppedTrips.from_row(dropped_row)
        self.log.info("Window %s: %s", run.window.id, dropped.describe())
        (counts_row,) = self._rows(run, sql.count_splits(run.settings, run.window))
        counts = sql.SplitCounts.from_row(counts_row)
        self.log.info("Rows: train %d, eval %d, test %d", counts.train, counts.eval, counts.test)
        days = self._rows(run, sql.list_days(run.settings, run.window))
        empty = sql.EmptyDays.of((row["day"] for row in days), run.window)
        self.log.info("%s", empty.describe())
        try:
            sql.require_rows(counts, run.settings)
            sql.require_complete(dropped, empty, run.settings)
        except (sql.TooFewTripsError, sql.DamagedTripsError) as error:
            raise AirflowFailException(f"window {run.window.id}: {error}\n  {dropped.describe()}") from error
        return naming.dataset_table(run.settings, run.window)

    def _rows(self, run: Run, statement: sql.Statement) -> list[Mapping[str, Any]]:
        from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook  # noqa: PLC0415  # brings pandas

        hook = BigQueryHook(
            gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain, use_legacy_sql=False
        )
        job: Any = hook.insert_job(
            configuration=statement.job_configuration(run.settings, run.labels),
            project_id=run.settings.project,
            location=run.settings.bigquery_location,
        )
        return list(job.result())
