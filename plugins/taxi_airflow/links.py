"""Links from this product's tasks to what they wrote or ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

from vertex_airflow.links import StoredLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class ModelCardLink(StoredLink):
    """Open the model card that the gate wrote."""

    name = "Model card"
    key = "model_card_link"


class ReplayLink(StoredLink):
    """Open the page of a replay."""

    name = "Replay"
    key = "replay_link"


class BigQueryJobLink(BaseOperatorLink):
    """The Google provider's link to a BigQuery job, imported only when it is used: that takes 0.5 s."""

    name = "BigQuery job"

    @property
    def xcom_key(self) -> str:
        """The key under which the Google provider's operator stores the job's id."""
        return "bigquery_job_detail"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the job's page in Google Cloud's console, or an empty string before there is a job."""
        from airflow.providers.google.cloud.links.bigquery import BigQueryJobDetailLink  # noqa: PLC0415  # above

        return str(BigQueryJobDetailLink().get_link(operator, ti_key=ti_key))
