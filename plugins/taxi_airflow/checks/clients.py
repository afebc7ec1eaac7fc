"""Google's clients for the checks, from the connection, with calls that give up soon."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taxi_ml.settings import Settings
    from taxi_ml.window import Window
    from vertex_airflow.hooks.vertex import VertexHook

CALL_TIMEOUT = 20.0


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is checked: settings, a window, and the connection that leads to Google Cloud."""

    settings: Settings
    window: Window
    gcp_conn_id: str = "google_cloud_default"
    impersonation_chain: str | Sequence[str] | None = None

    @cached_property
    def vertex(self) -> VertexHook:
        """The connection as the operators for Vertex AI use it."""
        from vertex_airflow.hooks.vertex import VertexHook  # noqa: PLC0415  # 0.5 s, not at parse time

        return VertexHook(region=self.settings.region, **self._access)

    @cached_property
    def storage(self) -> Any:  # noqa: ANN401  # google-cloud-storage has no types
        """A client of Cloud Storage."""
        from airflow.providers.google.cloud.hooks.gcs import GCSHook  # noqa: PLC0415  # 1 s, not at parse time

        return GCSHook(**self._access).get_conn()

    @cached_property
    def bigquery(self) -> Any:  # noqa: ANN401  # google-cloud-bigquery has no types
        """A client of BigQuery, in the settings' project and location."""
        from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook  # noqa: PLC0415  # brings pandas

        hook = BigQueryHook(use_legacy_sql=False, **self._access)
        return hook.get_client(project_id=self.settings.project, location=self.settings.bigquery_location)

    @property
    def _access(self) -> dict[str, Any]:
        return {"gcp_conn_id": self.gcp_conn_id, "impersonation_chain": self.impersonation_chain}
