"""A client of the local BigQuery that runs the product's statements."""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING, Any

from google.cloud import bigquery

from taxi_ml import naming, sql
from taxi_ml.settings import Settings
from tests.taxi_ml.trips import COLUMN_TYPES, WINDOW, Trip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taxi_ml.sql import Statement
    from taxi_ml.window import Window
    from tests.local_stack import LocalStack


class BigQuery:
    """A client that runs the statements over hand-made or real trips."""

    def __init__(self, stack: LocalStack) -> None:
        self.client = stack.bigquery_client()
        self.settings = Settings.from_environment(
            {"TAXI_PROJECT": "taxi-local", "TAXI_BUCKET": "gs://taxi-local", "TAXI_PIPELINE_IMAGE": "image:1"}
        ).with_overrides(dataset=f"test_{uuid.uuid4().hex}", history_months=1)
        self.run(sql.create_schema(self.settings))

    def run(self, statement: Statement, settings: Settings | None = None) -> list[dict[str, Any]]:
        """Run a statement as the DAG does and return its rows."""
        configuration = statement.job_configuration(settings or self.settings, {"app": "tests"})
        job = self.client.create_job(job_config=configuration)
        if not isinstance(job, bigquery.QueryJob):
            raise TypeError(f"{job} is not a query")
        return [dict(row) for row in job.result()]

    def with_trips(self, trips: Sequence[Trip]) -> Settings:
        """Put trips into a table of their own and return settings that read it."""
        table = f"taxi-local.{self.settings.dataset}.trips_{uuid.uuid4().hex}"
        schema = [bigquery.SchemaField(f.name, COLUMN_TYPES[f.name]) for f in dataclasses.fields(Trip)]
        self.client.create_table(bigquery.Table(table, schema=schema))
        refused = self.client.insert_rows_json(table, [trip.json_row() for trip in trips])
        if refused:
            raise ValueError(f"BigQuery refused rows: {refused}")
        return self.settings.with_overrides(trips_table=table)

    def dataset(self, chosen: Settings, window: Window = WINDOW) -> dict[str, dict[str, Any]]:
        """Build a window's dataset and return its rows by trip id."""
        return self.rows_of(sql.build_dataset(chosen, window), chosen, window)

    def rows_of(self, statement: Statement, chosen: Settings, window: Window) -> dict[str, dict[str, Any]]:
        """Run a statement that builds a window's dataset and return the rows by trip id, each of one row."""
        self.run(statement, chosen)
        rows = list(self.client.query(f"SELECT * FROM `{naming.dataset_table(chosen, window)}`").result())
        by_id = {row["trip_id"]: dict(row) for row in rows}
        if len(by_id) < len(rows):
            raise ValueError(f"{len(rows)} rows have {len(by_id)} ids")
        return by_id
