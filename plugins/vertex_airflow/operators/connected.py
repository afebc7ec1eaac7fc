"""The connection that every operator takes, and the meaning of fields once their templates are rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

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
        """Return the objects of Cloud Storage that the connection reaches."""
        return ObjectStore(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)


def is_true(value: bool | str) -> bool:  # noqa: FBT001  # a template gives either
    """Return whether a field is true: most templates render True as a string."""
    return value if isinstance(value, bool) else value.strip().lower() in {"true", "1", "yes"}


def is_empty(value: Sequence[str] | str) -> bool:
    """Return whether a field is empty: a template renders None as a string."""
    return not value or value == "None"


def check_given(**fields: Sequence[str] | str) -> None:
    """Raise if the template of a required field rendered to nothing.

    Raises:
        AirflowFailException: naming the field.

    """
    for name, value in fields.items():
        if is_empty(value):
            raise AirflowFailException(f"{name} is empty; the task that provides it has returned nothing")
