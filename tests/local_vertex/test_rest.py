"""Sides of REST that the clients hide: plain HTTP requests and their answers."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.local_vertex.servers import CANONICAL, PARENT
from tests.local_vertex.test_pipeline_jobs import SPEC

if TYPE_CHECKING:
    from tests.local_vertex.servers import Server

JOB = {"displayName": "taxi", "pipelineSpec": SPEC, "runtimeConfig": {"gcsOutputDirectory": "gs://bucket/r"}}


def call(server: Server, verb: str, path: str, body: object = None) -> tuple[int, Any]:
    """Send a request and return status and JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.rest_url}{path}", content, headers, method=verb)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.parametrize("path", ["/", "/healthz"])
def test_health(server: Server, path: str) -> None:
    """The health routes answer."""
    status, body = call(server, "GET", path)

    assert (status, body["status"], body["project"]) == (200, "ok", "taxi-local")


def test_enums_are_names_by_default(server: Server) -> None:
    """A client that does not ask for numbers gets names, and RFC 3339 times in UTC."""
    call(server, "POST", f"/v1/{PARENT}/pipelineJobs?pipelineJobId=a", JOB)
    _, job = call(server, "GET", f"/v1/{PARENT}/pipelineJobs/a")

    assert job["state"] == "PIPELINE_STATE_RUNNING"
    assert job["createTime"].endswith("Z")
    assert job["name"] == f"{CANONICAL}/pipelineJobs/a"


def test_error_body(server: Server) -> None:
    """An error is a google.rpc.Status with details."""
    status, body = call(server, "GET", f"/v1/{PARENT}/pipelineJobs/a")

    assert status == 404
    assert (body["error"]["code"], body["error"]["status"]) == (404, "NOT_FOUND")
    assert body["error"]["details"][0]["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"


@pytest.mark.parametrize("body", [b"{", b"[]", {"displayNam": "x"}])
def test_wrong_bodies(server: Server, body: object) -> None:
    """A body that is not valid JSON, not an object or has an unknown field is 400."""
    status, answer = call(server, "POST", f"/v1/{PARENT}/pipelineJobs", body)

    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("query", ["nope=1", "pageSize=many", "readMask.x=1"])
def test_wrong_queries(server: Server, query: str) -> None:
    """A query that names no field, or has the wrong type, is 400."""
    status, answer = call(server, "GET", f"/v1/{PARENT}/pipelineJobs?{query}")

    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_unsupported_methods_say_so(server: Server) -> None:
    """A method that this Vertex AI lacks is 501 with the method's name."""
    status, body = call(server, "GET", f"/v1/{PARENT}/schedules")

    assert (status, body["error"]["status"]) == (501, "UNIMPLEMENTED")
    assert "ScheduleService.ListSchedules" in body["error"]["message"]


def test_unknown_paths(server: Server) -> None:
    """A path that no method has is 404."""
    status, body = call(server, "GET", f"/v1/{PARENT}/taxis")

    assert (status, body["error"]["status"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("name", ["taxi-local", "123456789012"])
def test_project(server: Server, name: str) -> None:
    """Resource Manager knows the project by id and number."""
    _, project = call(server, "GET", f"/v3/projects/{name}")

    assert (project["name"], project["projectId"]) == ("projects/123456789012", "taxi-local")


def test_raw_predict(server: Server) -> None:
    """The body goes to the container and its answer comes back as it is."""
    model = {
        "displayName": "fare",
        "artifactUri": "gs://bucket/model",
        "containerSpec": {"imageUri": "taxi-vertex/pipeline:local"},
    }
    call(server, "POST", f"/v1/{PARENT}/models:upload", {"model": model, "modelId": "fare"})
    call(server, "POST", f"/v1/{PARENT}/endpoints?endpointId=7", {"displayName": "fare"})
    deployed = {"model": f"{PARENT}/models/fare", "automaticResources": {}}
    request = {"deployedModel": deployed, "trafficSplit": {"0": 100}}
    _, operation = call(server, "POST", f"/v1/{PARENT}/endpoints/7:deployModel", request)
    call(server, "POST", f"/v1/{operation['name']}:wait", {})
    status, answer = call(server, "POST", f"/v1/{PARENT}/endpoints/7:rawPredict", {"instances": [1, 2]})

    assert (status, answer) == (200, {"predictions": ["gs://bucket/model", "gs://bucket/model"]})
