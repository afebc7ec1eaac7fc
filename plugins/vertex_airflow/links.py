"""The links from a task to what it works on, stored before the task defers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class StoredLink(BaseOperatorLink):
    """A link whose URL the task stores, so that it works while the task runs, deferred or not."""

    key: ClassVar[str]

    @property
    def xcom_key(self) -> str:
        """Where the URL is kept."""
        return self.key

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002  # Airflow's
        """Return the stored URL, or an empty text before there is one."""
        return str(XCom.get_value(key=self.xcom_key, ti_key=ti_key) or "")

    def persist(self, context: Any, url: str) -> None:  # noqa: ANN401  # Airflow's Context
        """Store the URL."""
        context["ti"].xcom_push(key=self.xcom_key, value=url)


class VertexLink(StoredLink):
    """Open the resource that the task works on, in Vertex AI."""

    name = "Vertex AI"
    key = "vertex_link"


class ModelCardLink(StoredLink):
    """Open the model card that the gate wrote."""

    name = "Model card"
    key = "model_card_link"


class BigQueryJobLink(BaseOperatorLink):
    """The provider's link to a BigQuery job, which is imported when it is asked: that takes 0.5 s."""

    name = "BigQuery job"

    @property
    def xcom_key(self) -> str:
        """Where the provider's operator stores which job it is."""
        return "bigquery_job_detail"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the job's page in Google Cloud's console, or an empty text before there is a job."""
        from airflow.providers.google.cloud.links.bigquery import BigQueryJobDetailLink  # noqa: PLC0415  # above

        return str(BigQueryJobDetailLink().get_link(operator, ti_key=ti_key))
