"""The product's SQL on a local BigQuery, run with Google's client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local_gcp.layout import PROJECT
from taxi_ml import sql
from taxi_ml.splits import Split

if TYPE_CHECKING:
    from taxi_ml.settings import Settings
    from taxi_ml.sql.statements import Statement
    from taxi_ml.window import Window


class Queries:
    """Builds and exports windows as the DAG does, on the BigQuery at `url`."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._settings = settings
        self._client = bigquery.Client(
            project=PROJECT,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]  # google.auth has none
            client_options={"api_endpoint": url},
        )

    def build(self, window: Window) -> None:
        """Make the window's table, replacing it."""
        self.run(sql.create_schema(self._settings))
        self.run(sql.build_dataset(self._settings, window))

    def export(self, window: Window) -> None:
        """Write the window's splits to Cloud Storage."""
        for split in Split:
            self.run(sql.export_split(self._settings, window, split))

    def run(self, statement: Statement) -> None:
        """Run one statement, and wait."""
        configuration: Any = bigquery.QueryJobConfig.from_api_repr(
            statement.job_configuration(self._settings, {})
        )
        self._client.query_and_wait(statement.sql, job_config=configuration)
