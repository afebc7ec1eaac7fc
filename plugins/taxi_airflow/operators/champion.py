"""Find the model that serves, which is the one to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taxi_airflow import registry
from taxi_airflow.operators.operation import VertexOperationOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from taxi_airflow.hooks.vertex import VertexHook


class FindChampionOperator(VertexOperationOperator):
    """Return ``{"name": "…/models/<id>@<n>", "uri": "gs://…"}`` of the model that serves most traffic.

    Both are empty where nothing serves: the endpoint's traffic says so, not an alias nor a blessing.

    :param endpoint_name: display name of the endpoint
    """

    template_fields: Sequence[str] = (*VertexOperationOperator.template_fields, "endpoint_name")

    def __init__(self, *, endpoint_name: str, **kwargs: Any) -> None:  # noqa: ANN401  # WaitingOperator's
        super().__init__(**kwargs)
        self.endpoint_name = endpoint_name

    def scope(self, hook: VertexHook) -> str | None:  # noqa: ARG002  # looking waits for nothing
        """Return None: looking waits for nothing."""
        return None

    def find(self, hook: VertexHook, context: Context) -> dict[str, str]:  # noqa: ARG002
        """Look at the endpoint's live traffic."""
        serving = registry.find_serving(hook, self.endpoint_name)
        if serving is None:
            self.log.info("Nothing serves on %r: there is no champion to beat", self.endpoint_name)
            return {"name": "", "uri": ""}
        self.log.info("%s serves from %s", serving.name, serving.uri)
        return {"name": serving.name, "uri": serving.uri}

    def start(self, hook: VertexHook, context: Context) -> str | None:
        """Nothing is ever started: `find` always answers."""
        raise NotImplementedError
