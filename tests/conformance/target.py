"""The Vertex AI under test: an endpoint, a project, a bucket and an image."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from urllib.parse import urlsplit

import grpc
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform_v1, monitoring_v3
from google.cloud.storage import Client as StorageClient

if TYPE_CHECKING:
    from collections.abc import Mapping

Client: TypeAlias = Any
"""A client or message of the official packages, whose types are incomplete."""

APP = "taxi-vertex-conformance"
PREFIX = "CONFORMANCE_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The project under test, and the patience it needs, in seconds.

    ``endpoint`` is the URL of a plaintext server; empty means Google Cloud, with the
    machine's credentials. Jobs run as ``service_account``; empty means the project's default.
    """

    project: str
    bucket: str
    image: str
    region: str = "us-central1"
    service_account: str = ""
    endpoint: str = ""
    storage_endpoint: str = ""
    transport: str = "grpc"
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:10])

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self | None:
        """Read CONFORMANCE_PROJECT, …_BUCKET and so on; None without a project."""
        fields = {name: environ.get(f"{PREFIX}{name.upper()}", "") for name in cls.__dataclass_fields__}
        return cls(**{name: value for name, value in fields.items() if value}) if fields["project"] else None

    def environment(self) -> dict[str, str]:
        """Return the variables that `from_environment` reads."""
        return {f"{PREFIX}{name.upper()}": getattr(self, name) for name in self.__dataclass_fields__}

    @property
    def patience(self) -> float:
        """The limit for every wait: machines of Google Cloud have to start first."""
        return 60.0 if self.endpoint else 2700.0

    @property
    def pause(self) -> float:
        """The seconds between two polls."""
        return 0.05 if self.endpoint else 10.0

    @property
    def parent(self) -> str:
        """The location of everything."""
        return f"projects/{self.project}/locations/{self.region}"

    @property
    def labels(self) -> dict[str, str]:
        """The labels of everything that is made."""
        return {"app": APP, "run": self.run}

    @property
    def root(self) -> str:
        """The folder of the run in the bucket."""
        return f"gs://{self.bucket}/{APP}/{self.run}"

    def client(self, service: str) -> Client:
        """Return the generated client of a service, such as `PipelineService`."""
        client_type = getattr(aiplatform_v1, f"{service}Client")
        if not self.endpoint:
            options = {"api_endpoint": f"{self.region}-aiplatform.googleapis.com"}
            return client_type(client_options=options, transport=self.transport)
        transport = client_type.get_transport_class(self.transport)
        place = urlsplit(self.endpoint).netloc
        if self.transport == "grpc":
            return client_type(transport=transport(channel=grpc.insecure_channel(place)))
        return client_type(transport=transport(host=place, credentials=_nobody(), url_scheme="http"))

    def metrics(self) -> Client:
        """Return the client of Cloud Monitoring's MetricService, which speaks gRPC only."""
        if not self.endpoint:
            return monitoring_v3.MetricServiceClient()
        transport = monitoring_v3.MetricServiceClient.get_transport_class("grpc")
        channel = grpc.insecure_channel(urlsplit(self.endpoint).netloc)
        return monitoring_v3.MetricServiceClient(transport=transport(channel=channel))

    def storage(self) -> StorageClient:
        """Return the client of Cloud Storage, which without an endpoint heeds STORAGE_EMULATOR_HOST."""
        options = {"api_endpoint": self.storage_endpoint} if self.storage_endpoint else None
        credentials = _nobody() if self.endpoint else None
        return StorageClient(project=self.project, credentials=credentials, client_options=options)


def _nobody() -> AnonymousCredentials:
    return AnonymousCredentials()  # type: ignore[no-untyped-call]  # google.auth has none
