"""The links from a task to what it works on, stored before the task defers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class VertexLink(BaseOperatorLink):
    """Open the resource that the task works on, in Vertex AI."""

    name = "Vertex AI"

    @property
    def xcom_key(self) -> str:
        """Where the URL is kept. It is read from there while the task runs, deferred or not."""
        return "vertex_link"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002  # Airflow's
        """Return the stored URL, or an empty text before there is a resource."""
        return str(XCom.get_value(key=self.xcom_key, ti_key=ti_key) or "")

    def persist(self, context: Any, url: str) -> None:  # noqa: ANN401  # Airflow's Context
        """Store the URL of the task's resource."""
        context["ti"].xcom_push(key=self.xcom_key, value=url)


class ModelCardLink(BaseOperatorLink):
    """Open the model card that the gate wrote."""

    name = "Model card"

    @property
    def xcom_key(self) -> str:
        """Where the URL is kept."""
        return "model_card_link"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002  # Airflow's
        """Return the stored URL, or an empty text before there is a card."""
        return str(XCom.get_value(key=self.xcom_key, ti_key=ti_key) or "")

    def persist(self, context: Any, url: str) -> None:  # noqa: ANN401  # Airflow's Context
        """Store the URL of the card."""
        context["ti"].xcom_push(key=self.xcom_key, value=url)
