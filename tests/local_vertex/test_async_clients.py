"""The official asynchronous clients over gRPC and REST."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from google.api_core import exceptions
from google.auth.aio.credentials import AnonymousCredentials
from google.cloud import aiplatform_v1

from local_vertex.domain.states import RunState
from tests.local_vertex.servers import CANONICAL, PARENT
from tests.local_vertex.test_custom_jobs import custom_job
from tests.local_vertex.test_endpoints import AUTOMATIC
from tests.local_vertex.test_models import model
from tests.local_vertex.test_pipeline_jobs import pipeline_job
from tests.local_vertex.test_predictions import instances

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.local_vertex.servers import Client, Server

pytestmark = pytest.mark.asyncio


@pytest.fixture(params=["grpc_asyncio", "rest_asyncio"])
def transport(request: pytest.FixtureRequest) -> str:
    """Name the transport of the asynchronous clients."""
    return str(request.param)


@asynccontextmanager
async def connected(client_type: Client, server: Server, transport: str) -> AsyncIterator[Client]:
    """Open an asynchronous client."""
    chosen = client_type.get_transport_class(transport)
    if transport == "rest_asyncio":
        credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]  # google.auth has none
        host = f"127.0.0.1:{server.rest_port}"
        opened = chosen(host=host, url_scheme="http", credentials=credentials)
    else:
        opened = chosen(channel=grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}"))
    yield client_type(transport=opened)
    await opened.close()


async def test_pipeline_jobs(server: Server, transport: str) -> None:
    """A job is created, refused a second time, listed and cancelled."""
    async with connected(aiplatform_v1.PipelineServiceAsyncClient, server, transport) as client:
        job = await client.create_pipeline_job(
            parent=PARENT, pipeline_job=pipeline_job(), pipeline_job_id="a"
        )
        with pytest.raises(exceptions.Conflict):
            await client.create_pipeline_job(parent=PARENT, pipeline_job=pipeline_job(), pipeline_job_id="a")
        listed = [each.name async for each in await client.list_pipeline_jobs(parent=PARENT)]
        await client.cancel_pipeline_job(name=job.name)
        state = (await client.get_pipeline_job(name=job.name)).state.name

    assert listed == [f"{CANONICAL}/pipelineJobs/a"]
    assert state == "PIPELINE_STATE_CANCELLED"


async def test_custom_jobs(server: Server, transport: str) -> None:
    """A custom job is created, read when it has ended, and deleted."""
    async with connected(aiplatform_v1.JobServiceAsyncClient, server, transport) as client:
        job = await client.create_custom_job(parent=PARENT, custom_job=custom_job())
        server.jobs.report(job.name, RunState.SUCCEEDED)
        state = (await client.get_custom_job(name=job.name)).state.name
        await (await client.delete_custom_job(name=job.name)).result(timeout=5)
        left = [each.name async for each in await client.list_custom_jobs(parent=PARENT)]

    assert state == "JOB_STATE_SUCCEEDED"
    assert left == []


async def test_a_model_is_served(server: Server, transport: str) -> None:
    """The operations of upload, creation and deployment are awaited; then the endpoint predicts."""
    async with (
        connected(aiplatform_v1.ModelServiceAsyncClient, server, transport) as models,
        connected(aiplatform_v1.EndpointServiceAsyncClient, server, transport) as endpoints,
        connected(aiplatform_v1.PredictionServiceAsyncClient, server, transport) as prediction,
    ):
        uploaded = await (await models.upload_model(parent=PARENT, model=model())).result(timeout=5)
        created = await endpoints.create_endpoint(parent=PARENT, endpoint={"display_name": "fare"})
        endpoint = (await created.result(timeout=5)).name
        deployed = await endpoints.deploy_model(
            endpoint=endpoint,
            deployed_model={"model": uploaded.model, "automatic_resources": AUTOMATIC},
            traffic_split={"0": 100},
        )
        await deployed.result(timeout=10)
        answer = await prediction.predict(endpoint=endpoint, instances=instances(1))

    assert list(answer.predictions) == ["gs://bkt/model"]


async def test_metadata(server: Server, transport: str) -> None:
    """The context of a run is found by its name, its lineage by the context."""
    async with (
        connected(aiplatform_v1.PipelineServiceAsyncClient, server, transport) as pipelines,
        connected(aiplatform_v1.MetadataServiceAsyncClient, server, transport) as metadata,
    ):
        job = await pipelines.create_pipeline_job(parent=PARENT, pipeline_job=pipeline_job())
        server.engine.finish_task(job.name, "Trainer")
        job = await pipelines.get_pipeline_job(name=job.name)
        context = job.job_detail.pipeline_run_context.name
        lineage = await metadata.query_context_lineage_subgraph(context=context)

    assert [execution.display_name for execution in lineage.executions] == ["Trainer"]
