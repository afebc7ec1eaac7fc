"""Wait for a window's trips and count them, before money is spent on them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow.own_tables import absent_columns
from taxi_airflow.runs import KEPT, run_of
from taxi_ml import naming, sizing, sql
from taxi_ml.gate.policy import PolicyError
from taxi_ml.gate.policy import load as load_policy
from taxi_ml.pipeline.machines import UnknownMachineTypeError
from taxi_ml.sql import columns
from vertex_airflow.operators.connected import ConnectedOperator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
    from airflow.sdk import Context

    from taxi_airflow.runs import Run


_REFUSALS: Final = (
    sql.TooFewTripsError,
    sql.DamagedTripsError,
    sizing.TooLargeError,
    PolicyError,
    UnknownMachineTypeError,
)


class QueryOperator(ConnectedOperator):
    """Base class of the operators that read what a statement returns."""

    ui_color = "#aecbfa"

    def _hook(self) -> BigQueryHook:
        from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook  # noqa: PLC0415  # brings pandas

        return BigQueryHook(
            gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain, use_legacy_sql=False
        )

    def _rows(self, run: Run, statement: sql.Statement) -> list[Mapping[str, Any]]:
        job: Any = self._hook().insert_job(
            configuration=statement.job_configuration(run.settings, run.labels),
            project_id=run.settings.project,
            location=run.settings.bigquery_location,
        )
        return list(job.result())


class WaitForTripsOperator(QueryOperator):
    """Wait, for as long as the settings allow, until the test months have trips up to their end.

    Each check is a query. Between checks the task is deferred to Airflow's own time trigger: a kill has
    nothing to cancel, and another try checks again and waits until the same deadline. Returns the day of the
    newest trip.

    :param look_every: time between two checks
    """

    def __init__(
        self,
        *,
        look_every: timedelta = timedelta(hours=6),
        **kwargs: Any,  # noqa: ANN401  # ConnectedOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.look_every = look_every

    def execute(self, context: Context) -> str:
        """Check, and wait or fail without a retry if trips are missing."""
        return self._look(context)

    def execute_complete(self, context: Context, event: object) -> str:  # noqa: ARG002  # the moment
        """Check again."""
        return self._look(context)

    def _look(self, context: Context) -> str:
        run, now = run_of(context), datetime.now(UTC)
        (row,) = self._rows(run, sql.newest_trip(run.settings, run.window))
        table, _ = columns.source(run.settings)
        newest: datetime | None = row["newest"]
        arrival = sql.Arrival(table=table, window=run.window, newest=newest.date() if newest else None)
        try:
            deadline = sql.waits_until(arrival, run.settings, now)
        except sql.MissingTripsError as error:
            raise AirflowFailException(f"window {run.window.id}: {error}\n{KEPT}") from error
        if deadline is not None:
            self._defer(arrival, min(now + self.look_every, deadline), deadline)
        self.log.info("Complete: %s", arrival.describe())
        return str(arrival.newest)

    def _defer(self, arrival: sql.Arrival, moment: datetime, deadline: datetime) -> NoReturn:
        from airflow.providers.standard.triggers.temporal import DateTimeTrigger  # noqa: PLC0415  # 0.1 s

        self.log.info("Waiting for %s. %d days at the end are missing", arrival.describe(), arrival.missing)
        self.log.info(
            "Checking again at %s UTC, giving up at %s UTC",
            *(f"{each:%Y-%m-%d %H:%M}" for each in (moment, deadline)),
        )
        self.defer(trigger=DateTimeTrigger(moment=moment), method_name="execute_complete")


class CheckRowsOperator(QueryOperator):
    """Stop a run whose window has too few trips, too many, too many duplicates or too many days without any.

    It logs the optional columns that a `source_table` lacks, the rows of each split, those dropped by reason,
    the days without trips, and the size of the run that follows (`taxi_ml.sizing`). Returns
    ``{"table", "rows", "sizing"}``: the name of the window's table, the trips of each split, by which later
    tasks size their part of the run, and that size in words.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Count, decide and log; fail without a retry if there are too few or too many."""
        run = run_of(context)
        client = self._hook().get_client(
            project_id=run.settings.project, location=run.settings.bigquery_location
        )
        absent = absent_columns(client, run.settings)
        if absent:
            self.log.warning(
                "%s has no column %s: unknown in every trip",
                run.settings.source_table,
                ", ".join(sorted(absent)),
            )
        (dropped_row,) = self._rows(run, sql.count_dropped(run.settings, run.window, absent=absent))
        dropped = sql.DroppedTrips.from_row(dropped_row)
        self.log.info("Window %s: %s", run.window.id, dropped.describe())
        (counts_row,) = self._rows(run, sql.count_splits(run.settings, run.window))
        counts = sql.SplitCounts.from_row(counts_row)
        days = self._rows(run, sql.list_days(run.settings, run.window))
        empty = sql.EmptyDays.of((row["day"] for row in days), run.window)
        self.log.info("%s", empty.describe())
        try:
            least = load_policy().min_rows
            size = sizing.plan(run.settings, counts, least)
            sql.require_rows(size.exported, least)
            sql.require_complete(dropped, empty, run.settings)
        except _REFUSALS as error:
            raise AirflowFailException(
                f"window {run.window.id}: {error}\n  {dropped.describe()}\n{KEPT}"
            ) from error
        self.log.info("%s", size.describe())
        self.log.info("Expected of each component on a machine of its own: %s", size.describe_needs())
        return {
            "table": naming.dataset_table(run.settings, run.window),
            "rows": dataclasses.asdict(counts),
            "sizing": size.describe_rows(),
        }
