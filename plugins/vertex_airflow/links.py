"""Links from a task to what it works on, stored before the task defers."""

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
        """The key that the URL is stored under."""
        return self.key

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002  # Airflow's
        """Return the stored URL, or an empty string before there is one."""
        return str(XCom.get_value(key=self.xcom_key, ti_key=ti_key) or "")

    def persist(self, context: Any, url: str) -> None:  # noqa: ANN401  # Airflow's Context
        """Store the URL."""
        context["ti"].xcom_push(key=self.xcom_key, value=url)


class VertexLink(StoredLink):
    """Open the resource that the task works on, in Vertex AI."""

    name = "Vertex AI"
    key = "vertex_link"
