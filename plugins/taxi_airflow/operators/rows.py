"""Count a window's rows, and decide how large the run is, before money is spent on them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow.operators.connected import ConnectedOperator
from taxi_airflow.runs import run_of
from taxi_ml import naming, sizing, sql
from taxi_ml.pipeline.machines import UnknownMachineTypeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from taxi_airflow.runs import Run


_REFUSALS: Final = (
    sql.TooFewTripsError,
    sql.DamagedTripsError,
    sizing.TooLargeError,
    UnknownMachineTypeError,
)


class CheckRowsOperator(ConnectedOperator):
    """Stop a run whose window has too few trips, too many copies or days without any, or too much to hold.

    It logs the rows of each split, those dropped by reason, the days without trips, and what follows for the
    run (`taxi_ml.sizing`). Returns ``{"table", "rows", "sizing"}``: the name of the window's table, the trips
    of each split, by which later tasks size their part of the run, and what was chosen, for people.
    """

    ui_color = "#aecbfa"

    def execute(self, context: Context) -> dict[str, Any]:
        """Count, decide, log, and fail for good when there are too few or too many."""
        run = run_of(context)
        (dropped_row,) = self._rows(run, sql.count_dropped(run.settings, run.window))
        dropped = sql.DroppedTrips.from_row(dropped_row)
        self.log.info("Window %s: %s", run.window.id, dropped.describe())
        (counts_row,) = self._rows(run, sql.count_splits(run.settings, run.window))
        counts = sql.SplitCounts.from_row(counts_row)
        days = self._rows(run, sql.list_days(run.settings, run.window))
        empty = sql.EmptyDays.of((row["day"] for row in days), run.window)
        self.log.info("%s", empty.describe())
        try:
            size = sizing.plan(run.settings, counts)
            sql.require_rows(size.exported, run.settings)
            sql.require_complete(dropped, empty, run.settings)
        except _REFUSALS as error:
            raise AirflowFailException(f"window {run.window.id}: {error}\n  {dropped.describe()}") from error
        self.log.info("%s", size.describe())
        self.log.info("Expected of each component on a machine of its own: %s", size.describe_needs())
        return {
            "table": naming.dataset_table(run.settings, run.window),
            "rows": dataclasses.asdict(counts),
            "sizing": size.describe_rows(),
        }

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
