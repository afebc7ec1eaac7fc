"""What every operator that reaches Google Cloud takes: the Airflow connection that leads there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from vertex_airflow.objects import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Sequence


class ConnectedOperator(BaseOperator):
    """Base of the operators that reach Google Cloud.

    :param gcp_conn_id: Airflow connection; see `vertex_airflow.hooks.vertex.VertexHook` for its extra fields
    :param impersonation_chain: service accounts to impersonate
    """

    template_fields: Sequence[str] = ("gcp_conn_id", "impersonation_chain")

    def __init__(
        self,
        *,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,  # noqa: ANN401  # BaseOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain

    def store(self) -> ObjectStore:
        """Return the door to Cloud Storage that the connection opens."""
        return ObjectStore(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
