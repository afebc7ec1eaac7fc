"""Fixtures of the local Vertex AI's tests: a server over fakes, and official clients for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.cloud import aiplatform_v1

from tests.local_vertex.servers import PARENT, connect, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.local_vertex.servers import Client, Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Return a fresh server."""
    with running_server(tmp_path) as running:
        yield running


@pytest.fixture(params=["grpc", "rest"])
def transport(request: pytest.FixtureRequest) -> str:
    """Name the transport of the official clients."""
    return str(request.param)


@pytest.fixture
def pipelines(server: Server, transport: str) -> Client:
    """Return the official client of PipelineService."""
    return connect(aiplatform_v1.PipelineServiceClient, server, transport)


@pytest.fixture
def custom_jobs(server: Server, transport: str) -> Client:
    """Return the official client of JobService."""
    return connect(aiplatform_v1.JobServiceClient, server, transport)


@pytest.fixture
def models(server: Server, transport: str) -> Client:
    """Return the official client of ModelService."""
    return connect(aiplatform_v1.ModelServiceClient, server, transport)


@pytest.fixture
def endpoints(server: Server, transport: str) -> Client:
    """Return the official client of EndpointService."""
    return connect(aiplatform_v1.EndpointServiceClient, server, transport)


@pytest.fixture
def prediction(server: Server, transport: str) -> Client:
    """Return the official client of PredictionService."""
    return connect(aiplatform_v1.PredictionServiceClient, server, transport)


@pytest.fixture
def endpoint(endpoints: Client) -> str:
    """Return the name of a fresh endpoint."""
    created = endpoints.create_endpoint(parent=PARENT, endpoint={"display_name": "fare"}, endpoint_id="7")
    return str(created.result(timeout=5).name)
