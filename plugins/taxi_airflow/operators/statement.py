"""Run one of taxi_ml's SQL statements with the provider's BigQuery operator."""

from __future__ import annotations

import inspect
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from taxi_airflow.links import BigQueryJobLink
from taxi_airflow.own_tables import absent_columns
from taxi_airflow.runs import run_of
from taxi_ml import naming, sql
from vertex_airflow.operators.connected import ConnectedOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow.providers.google.cloud.operators.bigquery import BigQueryInsertJobOperator
    from airflow.sdk import Context

    from taxi_airflow.runs import Run
    from taxi_ml.settings import Settings
    from taxi_ml.splits import Split
    from taxi_ml.sql import Statement
    from taxi_ml.window import Window


class StatementOperator(ConnectedOperator):
    """Run a statement for this DAG run's window with `BigQueryInsertJobOperator`, deferred while it waits.

    Importing the provider's module takes as long as importing Airflow and loads pandas, so it is imported
    when the task runs, not when the DAG is parsed. Statements replace what they write, so a retry can
    repeat them. Returns the id of the BigQuery job.

    :param statement: builds the statement from settings and window
    """

    operator_extra_links = (BigQueryJobLink(),)
    ui_color = "#aecbfa"

    def __init__(
        self,
        *,
        statement: Callable[..., Statement],
        deferrable: bool = True,
        **kwargs: Any,  # noqa: ANN401  # ConnectedOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.statement = statement
        self.deferrable = deferrable
        self._insert_job: BigQueryInsertJobOperator | None = None

    def execute(self, context: Context) -> str:
        """Start the job; returns its id, at once or from `execute_complete`."""
        insert_job = self._operator(run_of(context))
        # Airflow warns about execute() outside of a task; this one runs inside ours.
        execute = inspect.unwrap(type(insert_job).execute)
        return str(execute(insert_job, context))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        """Return the job's id, or raise its error."""
        return str(self._operator(run_of(context)).execute_complete(context, event))

    def on_kill(self) -> None:
        """Cancel the job."""
        if self._insert_job is not None:
            self._insert_job.on_kill()

    def made(self, run: Run) -> Statement:
        """Return the statement of this run."""
        return self.statement(run.settings, run.window)

    def _operator(self, run: Run) -> BigQueryInsertJobOperator:
        from airflow.providers.google.cloud.operators.bigquery import (  # noqa: PLC0415  # see the class
            BigQueryInsertJobOperator,
        )

        statement = self.made(run)
        self._insert_job = BigQueryInsertJobOperator(
            task_id=self.task_id,
            job_id=re.sub(r"[^\w-]+", "-", f"{self.dag_id}-{self.task_id}-{run.labels['run']}"),
            configuration=statement.job_configuration(run.settings, run.labels),
            project_id=run.settings.project,
            location=run.settings.bigquery_location,
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=self.impersonation_chain,
            deferrable=self.deferrable,
        )
        return self._insert_job


class BuildDatasetOperator(StatementOperator):
    """Build the window's dataset; optional columns that a `source_table` lacks are unknown in every trip."""

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401  # StatementOperator's
        super().__init__(statement=sql.build_dataset, **kwargs)

    def made(self, run: Run) -> Statement:
        """Look up the columns of the user's table, and return the statement for them."""
        from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook  # noqa: PLC0415  # brings pandas

        hook = BigQueryHook(
            gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain, use_legacy_sql=False
        )
        client = hook.get_client(project_id=run.settings.project, location=run.settings.bigquery_location)
        return self.statement(run.settings, run.window, absent=absent_columns(client, run.settings))


class ExportOperator(StatementOperator):
    """Export to Cloud Storage, replacing what is there.

    :param replaces: returns the pattern of the files from settings and window
    """

    def __init__(
        self,
        *,
        replaces: Callable[[Settings, Window], str],
        **kwargs: Any,  # noqa: ANN401  # StatementOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.replaces = replaces

    def execute(self, context: Context) -> str:
        """Delete the files of an earlier export, then export."""
        run, store = run_of(context), self.store()
        # An earlier export may have had more files than this one overwrites.
        for uri in store.matching(self.replaces(run.settings, run.window)):
            store.delete(uri)
        return super().execute(context)


class ExportSplitOperator(ExportOperator):
    """Export one split of the window's trips to Cloud Storage, replacing what is there.

    If there are more trips than the settings allow, it exports a sample.

    :param split: the split
    :param rows: the trips of each split, as JSON; see `CheckRowsOperator`
    """

    template_fields: Sequence[str] = (*StatementOperator.template_fields, "rows")

    def __init__(
        self,
        *,
        split: Split,
        rows: str,
        **kwargs: Any,  # noqa: ANN401  # StatementOperator's
    ) -> None:
        super().__init__(
            statement=partial(sql.export_split, split=split),
            replaces=partial(naming.split_uri, split=split),
            **kwargs,
        )
        self.split = split
        self.rows = rows

    def execute(self, context: Context) -> str:
        """Delete the files of an earlier export, then export."""
        # Rows that cannot be read are an error before anything is deleted.
        run_of(context).size(self.rows)
        return super().execute(context)

    def made(self, run: Run) -> Statement:
        """Return the statement with the share of the trips to export."""
        return self.statement(run.settings, run.window, share=run.size(self.rows).share(self.split))
