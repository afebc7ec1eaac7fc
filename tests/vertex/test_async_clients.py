"""The official asynchronous clients over gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import aiplatform_v1

from tests.vertex.conftest import CANONICAL, PARENT
from tests.vertex.test_models import model
from tests.vertex.test_pipeline_jobs import pipeline_job

if TYPE_CHECKING:
    from tests.vertex.conftest import Client, Server


def connect_async(client_type: Client, server: Server) -> Client:
    """Return an asynchronous client."""
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}")
    return client_type(transport=client_type.get_transport_class("grpc_asyncio")(channel=channel))


@pytest.mark.asyncio
async def test_pipeline_jobs(server: Server) -> None:
    """A job is created, refused a second time, listed and cancelled."""
    client = connect_async(aiplatform_v1.PipelineServiceAsyncClient, server)
    job = await client.create_pipeline_job(parent=PARENT, pipeline_job=pipeline_job(), pipeline_job_id="a")
    with pytest.raises(exceptions.AlreadyExists):
        await client.create_pipeline_job(parent=PARENT, pipeline_job=pipeline_job(), pipeline_job_id="a")
    listed = [each.name async for each in await client.list_pipeline_jobs(parent=PARENT)]
    await client.cancel_pipeline_job(name=job.name)
    state = (await client.get_pipeline_job(name=job.name)).state.name

    assert listed == [f"{CANONICAL}/pipelineJobs/a"]
    assert state == "PIPELINE_STATE_CANCELLED"


@pytest.mark.asyncio
async def test_long_running_operations(server: Server) -> None:
    """An operation's result is awaited."""
    client = connect_async(aiplatform_v1.ModelServiceAsyncClient, server)
    operation = await client.upload_model(parent=PARENT, model=model())
    response = await operation.result()

    assert response.model_version_id == "1"
