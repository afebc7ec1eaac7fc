"""Requests of every kind, most of them wrong: each is answered, and none spoils what is listed later."""

from __future__ import annotations

import http.client
import json
from random import Random
from typing import TYPE_CHECKING

import grpc
import pytest
from google.cloud import aiplatform_v1

from local_vertex.plan import parameters
from local_vertex.plan.planner import make_plan
from tests.local_vertex import fuzz
from tests.local_vertex.servers import PARENT, connect, running_server
from tests.local_vertex.test_models import upload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local_vertex.run.ports import PipelineRun
    from tests.local_vertex.servers import Server

REQUESTS = 150
LISTS = (
    "pipelineJobs",
    "customJobs",
    "models",
    "endpoints",
    "operations",
    "metadataStores/default/artifacts",
    "metadataStores/default/executions",
    "metadataStores/default/contexts",
)
BLAMELESS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.UNIMPLEMENTED,
}


def accept(run: PipelineRun) -> None:
    """Plan a run as the real engine does at its door."""
    parameters.bind(make_plan(run.spec).parameters, run.parameter_values)


@pytest.fixture
def planning(tmp_path: Path) -> Iterator[Server]:
    """Return a server with a model, an endpoint and the real engine's door."""
    with running_server(tmp_path, check=accept) as server:
        upload(connect(aiplatform_v1.ModelServiceClient, server, "grpc"), model_id="m")
        endpoints = connect(aiplatform_v1.EndpointServiceClient, server, "grpc")
        endpoints.create_endpoint(parent=PARENT, endpoint={"display_name": "e"}, endpoint_id="7").result()
        yield server


def ask(server: Server, verb: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """Send a request as it is; return status and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    connection.request(verb, path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def is_answer(status: int, content: bytes) -> bool:
    """Return whether an answer is a success or an error of the client, in Google's JSON form."""
    body = json.loads(content)
    if status == 200:
        return "error" not in body or "done" in body
    refused = 400 <= status < 500 or status == 501
    return refused and body["error"]["code"] == status and bool(body["error"]["message"])


def code_of(channel: grpc.Channel, path: str, body: bytes) -> grpc.StatusCode:
    """Call a method with the bytes of a request; return the status."""
    try:
        channel.unary_unary(path, None, None)(body, timeout=30)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def unreadable_lists(server: Server) -> list[str]:
    """Return the lists that can no longer be read, over either transport."""
    paths = (f"/v1/{PARENT}/{name}?pageSize=1000" for name in LISTS)
    wrong = [path for path in paths if ask(server, "GET", path)[0] != 200]
    list(connect(aiplatform_v1.PipelineServiceClient, server, "grpc").list_pipeline_jobs(parent=PARENT))
    list(connect(aiplatform_v1.JobServiceClient, server, "grpc").list_custom_jobs(parent=PARENT))
    list(connect(aiplatform_v1.ModelServiceClient, server, "grpc").list_models(parent=PARENT))
    list(connect(aiplatform_v1.EndpointServiceClient, server, "grpc").list_endpoints(parent=PARENT))
    return wrong


@pytest.mark.parametrize("seed", range(2))
def test_every_rest_request_is_answered(planning: Server, seed: int) -> None:
    """An answer is JSON and never blames the server; afterwards all lists can be read."""
    random = Random(seed)  # noqa: S311  # not for secrets
    for _ in range(REQUESTS):
        verb, path, body = fuzz.rest_request(random)
        status, content = ask(planning, verb, path, body)

        assert is_answer(status, content), (verb, path[:300], body[:2000], status, content[:1000])
    assert unreadable_lists(planning) == []


@pytest.mark.parametrize("seed", range(2))
def test_every_grpc_request_is_answered(planning: Server, seed: int) -> None:
    """A status never blames the server; afterwards all lists can be read."""
    random = Random(seed)  # noqa: S311  # not for secrets
    with grpc.insecure_channel(f"127.0.0.1:{planning.grpc_port}") as channel:
        for _ in range(REQUESTS):
            path, body = fuzz.grpc_request(random)
            code = code_of(channel, path, body)

            assert code in BLAMELESS, (path, body[:2000], code)
    assert unreadable_lists(planning) == []
