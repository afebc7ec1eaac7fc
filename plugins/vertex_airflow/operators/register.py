"""Register a trained model as a version of one model of the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from vertex_airflow import model_registry
from vertex_airflow.hooks.calls import CALL_TIMEOUT
from vertex_airflow.labels import run_key
from vertex_airflow.names import ModelName
from vertex_airflow.operators.connected import check_given
from vertex_airflow.operators.operation import VertexOperationOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from vertex_airflow.hooks.vertex import VertexHook

_SERVING_PORT = 8080


class RegisterModelVersionOperator(VertexOperationOperator[ModelName]):
    """Upload a version once for this DAG run, as the challenger.

    The version carries an alias that stands for DAG, run and artifact, by which another try finds it. Returns
    ``{"model": "…/models/<id>@<n>"}``.

    :param model_name: display name of the model, and its id when it is made
    :param artifact_uri: ``gs://…`` folder of the SavedModel
    :param image: container image that serves it, under Vertex AI's container contract
    :param command: what the container runs; empty: the image's own
    :param labels: labels of the version
    """

    template_fields: Sequence[str] = (
        *VertexOperationOperator.template_fields,
        "model_name",
        "artifact_uri",
        "image",
        "command",
        "labels",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"labels": "json"}

    def __init__(
        self,
        *,
        model_name: str,
        artifact_uri: str,
        image: str,
        command: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        **kwargs: Any,  # noqa: ANN401  # WaitingOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.model_name = model_name
        self.artifact_uri = artifact_uri
        self.image = image
        self.command = command
        self.labels = labels or {}

    def scope(self, hook: VertexHook) -> str:
        """Return the model: an upload of an earlier try may still be in progress."""
        return str(self._model(hook))

    def find(self, hook: VertexHook, context: Context) -> ModelName | None:
        """Return this run's version, or None before it is uploaded."""
        check_given(artifact_uri=self.artifact_uri, image=self.image)
        model = model_registry.find_version(hook, self._model(hook), self._alias(context))
        return model_registry.version_name(model) if model is not None else None

    def apply(self, hook: VertexHook, context: Context, state: ModelName) -> dict[str, Any]:  # noqa: ARG002
        """Make the version the challenger."""
        model_registry.give_aliases(hook, state, model_registry.CHALLENGER)
        return {"model": str(state)}

    def start(self, hook: VertexHook, context: Context) -> str:
        """Upload the version."""
        # Without its parent, an upload would make a second model with the same display name.
        known = model_registry.find_model(hook, self.model_name)
        upload = hook.models.upload_model(
            {
                "parent": hook.location,
                **({"parent_model": str(known)} if known else {"model_id": self.model_name}),
                "model": {
                    "display_name": self.model_name,
                    "version_aliases": [self._alias(context)],
                    "artifact_uri": self.artifact_uri,
                    "container_spec": self._container(),
                    "labels": dict(self.labels),
                },
            },
            timeout=CALL_TIMEOUT,
        )
        return str(upload.operation.name)

    def _container(self) -> dict[str, Any]:
        return {
            "image_uri": self.image,
            "command": list(self.command),
            "ports": [{"container_port": _SERVING_PORT}],
            "predict_route": "/predict",
            "health_route": "/health",
        }

    def _model(self, hook: VertexHook) -> ModelName:
        own = ModelName(project=hook.project_id, location=self.region, id=self.model_name)
        return model_registry.find_model(hook, self.model_name) or own

    def _alias(self, context: Context) -> str:
        return run_key(self.dag_id, str(context["dag_run"].run_id), self.artifact_uri)
