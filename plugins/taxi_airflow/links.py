"""The links from a task to what it works on, stored before the task defers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

BIGQUERY_JOB_PAGE = (
    "https://console.cloud.google.com/bigquery"
    "?project={project_id}&ws=!1m5!1m4!1m3!1s{project_id}!2s{job_id}!3s{location}"
)


class StoredLink(BaseOperatorLink):
    """A link whose URL the task stores, so that it works while the task runs, deferred or not."""

    key: ClassVar[str]

    @property
    def xcom_key(self) -> str:
        """Where the URL is kept."""
        return self.key

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002  # Airflow's
        """Return the stored URL, or an empty text before there is one."""
        return str(self._stored(ti_key) or "")

    def persist(self, context: Any, url: str) -> None:  # noqa: ANN401  # Airflow's Context
        """Store the URL."""
        context["ti"].xcom_push(key=self.xcom_key, value=url)

    def _stored(self, ti_key: TaskInstanceKey) -> Any:  # noqa: ANN401  # what somebody stored
        return XCom.get_value(key=self.xcom_key, ti_key=ti_key)


class VertexLink(StoredLink):
    """Open the resource that the task works on, in Vertex AI."""

    name = "Vertex AI"
    key = "vertex_link"


class ModelCardLink(StoredLink):
    """Open the model card that the gate wrote."""

    name = "Model card"
    key = "model_card_link"


class BigQueryJobLink(StoredLink):
    """Open the job of a statement in Google Cloud's console.

    It reads what the provider's `BigQueryInsertJobOperator` stores: the job's project, location and id. The
    provider's own link imports its base hook, which is half of what parsing the DAG would take.
    """

    name = "BigQuery job"
    key = "bigquery_job_detail"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002  # Airflow's
        """Return the URL of the job, or an empty text before there is one."""
        stored = self._stored(ti_key)
        return BIGQUERY_JOB_PAGE.format_map(stored) if isinstance(stored, dict) else str(stored or "")
