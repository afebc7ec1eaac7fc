"""Fixtures that every area of tests shares: a local cloud of its own for the whole session."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.storage import Client as StorageClient

from local_gcp.layout import PROJECT, Layout
from local_gcp.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStack:
    """A running local cloud and official clients of it."""

    stack: Stack
    layout: Layout

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a process reaches it."""
        return self.stack.client_environment()

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


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """BigQuery with the taxi trips and Cloud Storage with the bucket, in a state folder of their own."""
    with tempfile.TemporaryDirectory(prefix="local_gcp_") as folder:
        layout = Layout(state=Path(folder).resolve())
        running = Stack(layout)
        try:
            running.up(("bigquery", "gcs"))
            yield LocalStack(stack=running, layout=layout)
        finally:
            running.down()


@pytest.fixture(scope="session")
def local_stack(stack: LocalStack) -> LocalStack:
    """The same with Vertex AI."""
    stack.stack.up()
    return stack
