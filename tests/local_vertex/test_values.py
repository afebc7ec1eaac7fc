"""Values that no answer could hold: they are refused at the door, and nothing of the request is kept."""

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.cloud import aiplatform_v1
from google.protobuf import duration_pb2

from local_vertex.api.models import MODEL, Models
from local_vertex.api.region import PROJECT_NUMBER, Region
from local_vertex.domain.names import Project
from local_vertex.store import Store
from tests.local_vertex.servers import CANONICAL, PARENT, PROJECT, REGION, connect, running_server
from tests.local_vertex.test_custom_jobs import custom_job
from tests.local_vertex.test_fuzz import ask
from tests.local_vertex.test_models import model
from tests.local_vertex.test_pipeline_jobs import create

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local_vertex.servers import Client, Server

UPLOAD = '{"model": {"displayName": "m", "containerSpec": {"imageUri": "i"}, "metadata": %s}}'


def refused(server: Server, verb: str, path: str, body: str = "") -> str:
    """Return the message of a request that is INVALID_ARGUMENT."""
    status, content = ask(server, verb, path, body.encode())
    error = json.loads(content)["error"]

    assert (status, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    return str(error["message"])


def listed(server: Server) -> tuple[int, dict[str, Any]]:
    """Return status and body of the list of models."""
    status, content = ask(server, "GET", f"/v1/{PARENT}/models")
    return status, json.loads(content)


@pytest.mark.parametrize(
    "value",
    [
        '{"a": Infinity}',
        '{"a": -Infinity}',
        '{"a": NaN}',
        '{"a": 1e400}',
        '{"a": 1%s}' % ("0" * 400),
        '{"a": 1%s}' % ("0" * 5000),
        '{"a": "\\ud800"}',
        '{"a":' * 40 + "1" + "}" * 40,
        '{"a":' * 120 + "1" + "}" * 120,
        "[" * 99999,
    ],
)
def test_a_value_that_json_does_not_have(server: Server, value: str) -> None:
    """The value is refused where it would be stored, and the list is as it was."""
    message = refused(server, "POST", f"/v1/{PARENT}/models:upload", UPLOAD % value)

    assert message
    assert listed(server) == (200, {})


def test_a_number_over_grpc_that_json_does_not_have(server: Server) -> None:
    """Protobuf can carry NaN in a Struct, JSON cannot: the refusal names the field."""
    models = connect(aiplatform_v1.ModelServiceClient, server, "grpc")
    uploaded = MODEL(display_name="m", container_spec={"image_uri": "i"})
    uploaded.metadata.struct_value.fields["a"].number_value = math.nan
    with pytest.raises(exceptions.InvalidArgument, match=r"model\.metadata\.a"):
        models.upload_model(parent=PARENT, model=uploaded)

    assert listed(server) == (200, {})


@pytest.mark.parametrize("seconds", [2**62, -5])
def test_a_time_out_that_is_no_duration(server: Server, seconds: int) -> None:
    """A time-out that is negative or longer than a Duration is refused."""
    jobs = connect(aiplatform_v1.JobServiceClient, server, "grpc")
    scheduled = aiplatform_v1.CustomJob.pb()()
    scheduled.CopyFrom(aiplatform_v1.CustomJob.pb(aiplatform_v1.CustomJob(custom_job())))
    scheduled.job_spec.scheduling.timeout.CopyFrom(duration_pb2.Duration(seconds=seconds))

    with pytest.raises(exceptions.InvalidArgument, match="timeout"):
        jobs.create_custom_job(parent=PARENT, custom_job=aiplatform_v1.CustomJob.wrap(scheduled))


@pytest.mark.parametrize(
    "content",
    ["null", "[]", "[1, 2, 3]", '["\\n", "", -1]', '["\\n", "", 1e400]', '["\\n", "", []]', "[" * 9999, "x"],
)
def test_a_page_token_that_is_none(pipelines: Client, content: str) -> None:
    """A token that was not given out is INVALID_ARGUMENT, whatever it decodes to."""
    token = base64.urlsafe_b64encode(content.encode()).decode()

    with pytest.raises(exceptions.BadRequest, match="page_token"):
        list(pipelines.list_pipeline_jobs({"parent": PARENT, "page_token": token}))


@pytest.mark.parametrize(
    "text", ["(" * 5000, "NOT " * 5000 + "display_name=a", f"state={'9' * 5000}", "state=\N{SUPERSCRIPT TWO}"]
)
def test_a_filter_that_is_none(pipelines: Client, text: str) -> None:
    """A filter of any size or depth is answered, on either transport."""
    create(pipelines, "a")

    with pytest.raises(exceptions.BadRequest, match="filter"):
        list(pipelines.list_pipeline_jobs({"parent": PARENT, "filter": text}))


@pytest.mark.parametrize("query", ["pageSize=" + "9" * 5000, "pageSize=1e400", "pageSize=NaN"])
def test_a_number_in_a_query_that_is_none(server: Server, query: str) -> None:
    """A number of any length in a query is answered."""
    assert "pageSize" in refused(server, "GET", f"/v1/{PARENT}/models?{query}")


@pytest.mark.parametrize("calls", ["1e400", "NaN", "[]", "1" * 5000])
def test_an_order_of_faults_that_is_none(tmp_path: Path, calls: str) -> None:
    """The page of faults refuses what it cannot count, and orders nothing."""
    with running_server(tmp_path, faults=True) as server:
        refused(server, "POST", "/faults", f'{{"method": "Get*", "fault": "hang", "calls": {calls}}}')
        left = ask(server, "GET", "/faults")

    assert left == (200, b'{"faults":[]}')


def test_an_order_of_faults_that_is_not_unicode(tmp_path: Path) -> None:
    """An order that could not be shown is refused."""
    with running_server(tmp_path, faults=True) as server:
        refused(server, "POST", "/faults", '{"method": "\\ud800", "fault": "hang"}')
        left = ask(server, "GET", "/faults")

    assert left == (200, b'{"faults":[]}')


def test_a_request_that_is_not_protobuf(server: Server) -> None:
    """Bytes that are not a request are INVALID_ARGUMENT, the client's mistake."""
    client = connect(aiplatform_v1.ModelServiceClient, server, "grpc")
    call = client.transport.grpc_channel.unary_unary(
        "/google.cloud.aiplatform.v1.ModelService/GetModel", None, None
    )

    with pytest.raises(Exception, match="is not a GetModelRequest") as raised:
        call(b"\xff")
    assert raised.value.code().name == "INVALID_ARGUMENT"  # type: ignore[attr-defined]  # grpc.RpcError


@pytest.mark.parametrize("verb", ["OPTIONS", "TRACE"])
def test_a_verb_that_no_method_has(server: Server, verb: str) -> None:
    """A verb that no method has is NOT_FOUND, with an error in the same JSON as all others."""
    status, content = ask(server, verb, f"/v1/{PARENT}/models")

    assert (status, json.loads(content)["error"]["status"]) == (404, "NOT_FOUND")


def test_an_unreadable_number_in_the_state_hides_nothing(tmp_path: Path) -> None:
    """A state that already holds NaN is listed, with NaN as the string that JSON has for it."""
    store = Store(tmp_path / "vertex.sqlite")
    models = Models(Region(project=Project(id=PROJECT, number=PROJECT_NUMBER, region=REGION), store=store))
    kept = aiplatform_v1.Model.pb(aiplatform_v1.Model(model()))
    kept.name = f"{CANONICAL}/models/m"
    kept.metadata.number_value = math.nan
    models.insert(kept)
    models.insert_version(kept)
    store.close()
    with running_server(tmp_path) as server:
        status, body = listed(server)

    assert (status, [each["metadata"] for each in body["models"]]) == (200, ["NaN"])
