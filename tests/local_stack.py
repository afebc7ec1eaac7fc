"""A local cloud that runs for the tests, with official clients of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.storage import Client as StorageClient

from local_gcp import state
from local_gcp.layout import PROJECT

if TYPE_CHECKING:
    from local_gcp.layout import Layout
    from local_gcp.stack import Stack


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStack:
    """A running local cloud and official clients of it."""

    stack: Stack
    layout: Layout

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a process reaches it."""
        return self.stack.client_environment()

    def url(self, service: str, kind: str) -> str:
        """Return the address of a service; `kind` is rest or grpc."""
        return state.read(self.layout.stack_file).services[service].urls[kind]

    def bigquery_client(self, project: str = PROJECT) -> bigquery.Client:
        """Make a client of its BigQuery."""
        return bigquery.Client(
            project=project,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]  # google.auth has none
            client_options={"api_endpoint": self.environment["BIGQUERY_EMULATOR_HOST"]},
        )

    def storage_client(self, project: str = PROJECT) -> StorageClient:
        """Make a client of its Cloud Storage."""
        return StorageClient(
            project=project,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]  # google.auth has none
            client_options={"api_endpoint": self.environment["STORAGE_EMULATOR_HOST"]},
        )
