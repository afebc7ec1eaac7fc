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

from local_gcp import state
from local_gcp.airflow import AIRFLOW
from local_gcp.layout import PROJECT, Layout
from local_gcp.services import CLOUD
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

    def url(self, service: str, kind: str) -> str:
        """Return where a service listens; `kind` is rest or grpc."""
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


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """BigQuery with the taxi trips and Cloud Storage with the bucket, in a state folder of their own."""
    with tempfile.TemporaryDirectory(prefix="local_gcp_") as folder:
        layout = Layout(state=Path(folder).resolve())
        running = Stack(layout, declarations=(*CLOUD, *AIRFLOW))
        try:
            running.up(("bigquery", "gcs"))
            yield LocalStack(stack=running, layout=layout)
        finally:
            running.down()


@pytest.fixture(scope="session")
def local_stack(stack: LocalStack) -> LocalStack:
    """The same with Vertex AI."""
    stack.stack.up([declaration.name for declaration in CLOUD])
    return stack


@pytest.fixture(scope="session")
def airflow_stack(local_stack: LocalStack) -> LocalStack:
    """The same with Airflow, which runs the DAGs of this repository."""
    local_stack.stack.up()
    return local_stack
