"""Synchronous Vertex AI clients from an Airflow connection."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.google.common.hooks.base_google import GoogleBaseHook

from vertex_airflow.hooks.calls import CALL_TIMEOUT, CALLS, CHANNEL_OPTIONS, SCOPES
from vertex_airflow.polling import ErrorKind, classify

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc
    from google.cloud.aiplatform_v1 import (
        Artifact,
        EndpointServiceClient,
        JobServiceClient,
        MetadataServiceClient,
        ModelServiceClient,
        PipelineServiceClient,
        PredictionServiceClient,
    )

    from vertex_airflow.jobs import JobKind, JobView


class EndpointError(ValueError):
    """An address in the connection is not the URL of a gRPC server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiEndpoint:
    """The address of a gRPC server, and whether the channel to it is plaintext."""

    target: str
    plaintext: bool

    @classmethod
    def parse(cls, url: str, *, field: str = "vertex_endpoint") -> ApiEndpoint:
        """Return the endpoint that a URL such as ``https://us-central1-aiplatform.googleapis.com`` names.

        :param field: the connection's extra field that has the URL

        Raises:
            EndpointError: when the scheme is not http or https, or there is no host.

        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise EndpointError(
                f"{field} {url!r} of the connection is not a URL; write https://host[:port], "
                "or http://host:port for a plaintext server"
            )
        port = parts.port or (80 if parts.scheme == "http" else 443)
        return cls(target=f"{parts.hostname}:{port}", plaintext=parts.scheme == "http")


class VertexHook(GoogleBaseHook):
    """Connect to Vertex AI in one region, over one gRPC channel for all its services.

    Extra fields of the connection, beside those of every Google Cloud connection:

    - ``vertex_endpoint``: URL of the gRPC server; ``http`` makes the channel plaintext. Without it,
      ``https://{region}-aiplatform.googleapis.com``.
    - ``vertex_console``: URL of the pages that the links open. Without it, Google Cloud's console.
    - ``registry_endpoint``: URL of a registry that has all images. Without it, the registry that an image
      names.
    """

    def __init__(
        self,
        *,
        region: str,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,  # noqa: ANN401  # what older and newer base hooks take
    ) -> None:
        super().__init__(gcp_conn_id=gcp_conn_id, impersonation_chain=impersonation_chain, **kwargs)
        self.region = region

    @property
    def endpoint(self) -> ApiEndpoint:
        """The server that the connection names."""
        url = self._get_field("vertex_endpoint") or f"https://{self.region}-aiplatform.googleapis.com"
        return ApiEndpoint.parse(url)

    @property
    def registry_endpoint(self) -> str:
        """The registry that the connection names, without a slash at the end; empty for none."""
        return str(self._get_field("registry_endpoint") or "").rstrip("/")

    @property
    def location(self) -> str:
        """The resource name of the project and region: ``projects/…/locations/…``."""
        return f"projects/{self.project_id}/locations/{self.region}"

    def page(self, resource: str) -> str:
        """Return the URL of a resource's page, in the connection's console or in Google Cloud's."""
        return console_page(resource, console=self._get_field("vertex_console"))

    def channel_credentials(self) -> Any:  # noqa: ANN401  # google.auth has no types
        """Return the credentials of the connection, scoped for Vertex AI."""
        return self.get_credentials()

    @cached_property
    def channel(self) -> grpc.Channel:
        """The channel that all clients of this hook share; credentials refresh by themselves."""
        import grpc  # noqa: PLC0415  # not at parse time

        if self.endpoint.plaintext:
            return grpc.insecure_channel(self.endpoint.target, options=CHANNEL_OPTIONS)
        transport = self._transport("pipeline_service", "PipelineService")
        channel: grpc.Channel = transport.create_channel(
            self.endpoint.target,
            credentials=self.channel_credentials(),
            scopes=SCOPES,
            options=CHANNEL_OPTIONS,
        )
        return channel

    @cached_property
    def pipelines(self) -> PipelineServiceClient:
        """The client of pipeline jobs."""
        client: PipelineServiceClient = self._client("pipeline_service", "PipelineService")
        return client

    @cached_property
    def jobs(self) -> JobServiceClient:
        """The client of custom jobs."""
        client: JobServiceClient = self._client("job_service", "JobService")
        return client

    @cached_property
    def models(self) -> ModelServiceClient:
        """The client of the model registry."""
        client: ModelServiceClient = self._client("model_service", "ModelService")
        return client

    @cached_property
    def endpoints(self) -> EndpointServiceClient:
        """The client of endpoints."""
        client: EndpointServiceClient = self._client("endpoint_service", "EndpointService")
        return client

    @cached_property
    def metadata(self) -> MetadataServiceClient:
        """The client of the metadata store."""
        client: MetadataServiceClient = self._client("metadata_service", "MetadataService")
        return client

    @cached_property
    def predictions(self) -> PredictionServiceClient:
        """The client of online predictions."""
        client: PredictionServiceClient = self._client("prediction_service", "PredictionService")
        return client

    def get_job(self, kind: JobKind, name: str) -> JobView:
        """Return a job or operation as it is now."""
        calls = CALLS[kind]
        return calls.view(calls.get(self)({"name": name}, timeout=CALL_TIMEOUT))

    def outputs_of(self, execution: str) -> dict[str, Artifact]:
        """Return what an execution has made, or has taken from the cache, by output."""
        from google.cloud.aiplatform_v1 import Event  # noqa: PLC0415  # 1.7 s, not at parse time

        graph = self.metadata.query_execution_inputs_and_outputs(execution=execution, timeout=CALL_TIMEOUT)
        made = {event.artifact for event in graph.events if event.type_ == Event.Type.OUTPUT}
        return {each.display_name: each for each in graph.artifacts if each.name in made}

    def cancel_job(self, kind: JobKind, name: str) -> None:
        """Request the cancellation of a job or operation; it happens later."""
        CALLS[kind].cancel(self)({"name": name}, timeout=CALL_TIMEOUT)

    def cancel_and_wait(self, kind: JobKind, name: str, *, bound: float) -> bool:
        """Cancel a job or operation; return whether it was over within ``bound`` seconds."""
        end = time.monotonic() + bound
        pause = 0.2
        asked = False
        while True:
            try:
                if not asked:
                    self.cancel_job(kind, name)
                    asked = True
                if not self.get_job(kind, name).active:
                    return True
            except Exception as error:
                error_kind = classify(error)
                if error_kind in {ErrorKind.MISSING, ErrorKind.DENIED}:
                    raise
                # A job that is over refuses the cancellation; its state then ends the wait.
                asked = asked or error_kind is ErrorKind.INVALID
            if time.monotonic() + pause > end:
                return False
            time.sleep(pause)
            pause = min(5.0, pause * 1.5)

    def close(self) -> None:
        """Close the channel if one was opened."""
        channel = self.__dict__.pop("channel", None)
        if channel is not None:
            channel.close()

    def _client(self, module: str, service: str) -> Any:  # noqa: ANN401  # one of the generated clients
        from google.cloud import aiplatform_v1  # noqa: PLC0415  # 1.7 s, not at parse time

        transport = self._transport(module, service)(host=self.endpoint.target, channel=self.channel)
        return getattr(aiplatform_v1, f"{service}Client")(transport=transport)

    @staticmethod
    def _transport(module: str, service: str) -> Any:  # noqa: ANN401  # one of the generated transports
        from importlib import import_module  # noqa: PLC0415  # beside what it imports

        transports = import_module(f"google.cloud.aiplatform_v1.services.{module}.transports")
        return getattr(transports, f"{service}GrpcTransport")


def console_page(resource: str, *, console: str | None = None) -> str:
    """Return the page of a job, model or endpoint.

    Google Cloud's console has a page of its own shape for each kind; any other console serves
    ``<console>/<resource name>``.
    """
    if console:
        return f"{console.rstrip('/')}/{resource}"
    match = re.fullmatch(r"projects/([^/]+)/locations/([^/]+)/(\w+)/([^/@]+)(?:@(.+))?", resource)
    home = "https://console.cloud.google.com/vertex-ai"
    if match is None:
        return home
    project, region, collection, name, version = match.groups()
    paths = {
        "pipelineJobs": f"locations/{region}/pipelines/runs/{name}",
        "customJobs": f"locations/{region}/training/{name}",
        "models": f"models/locations/{region}/models/{name}/versions/{version or 'default'}",
        "endpoints": f"online-prediction/locations/{region}/endpoints/{name}",
    }
    return f"{home}/{paths.get(collection, '')}?project={project}"
