"""The check of calls against Google's discovery documents, and the table of methods against their paths."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from google.cloud import aiplatform_v1

from local_vertex.composition import SERVICES
from local_vertex.server.methods import method_table
from tests.local_vertex import discovery
from tests.local_vertex.discovery import Recorder, described, document, request_problems
from tests.local_vertex.servers import PARENT, connect

if TYPE_CHECKING:
    from local_vertex.server.methods import Method
    from tests.local_vertex.servers import Server

TABLE = {each.rpc: each for each in method_table({name: type_ for type_, name in SERVICES.items()})}
SUPPORTED = [each for each in TABLE.values() if each.handler]


@pytest.mark.parametrize("method", SUPPORTED, ids=lambda method: method.rpc)
def test_every_supported_method_is_documented(method: Method) -> None:
    """Verb and path of each public binding are those of Google's own document."""
    found, _ = described(method)

    assert [rule for rule in method.rules if rule.uri.startswith("/v1/") and not found.method(rule)] == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"displayNam": "fare"}, "'displayNam' was unexpected"),
        ({"deployedModels": {}}, "$.deployedModels: {} is not of type 'array'"),
        ({"trafficSplit": {"1": "100"}}, "'100' is not of type 'integer'"),
        ({"createTime": "2015-07-01"}, "'2015-07-01' is not a 'google-datetime'"),
        (
            {"deployedModels": [{"automaticResources": {"maxReplicaCount": 1.5}}]},
            "1.5 is not of type 'integer'",
        ),
        (
            {"deployedModels": [{"dedicatedResources": {"machineSpec": {"acceleratorType": "GPU"}}}]},
            "'GPU' is not one of",
        ),
    ],
)
def test_what_is_not_documented_is_found(content: Any, problem: str) -> None:  # noqa: ANN401  # JSON
    """A name, a type, a format and an enum that a schema does not have are each a problem."""
    found = list(document("aiplatform.v1").problems("GoogleCloudAiplatformV1Endpoint", content))

    assert len(found) == 1
    assert problem.removeprefix("$") in found[0]


def test_messages_inside_operations_are_checked() -> None:
    """The answer that an operation carries has a schema, too."""
    packed = {"@type": "type.googleapis.com/google.cloud.aiplatform.v1.Endpoint", "state": "UP"}

    found = list(document("aiplatform.v1").problems("GoogleLongrunningOperation", {"response": packed}))

    assert found == [
        "GoogleCloudAiplatformV1Endpoint: Additional properties are not allowed ('state' was unexpected)"
    ]


def test_requests_do_not_set_what_only_the_service_may() -> None:
    """An output-only field of a request is a mistake of the client, at any depth."""
    deployed = aiplatform_v1.DeployedModel.pb()(model="m", status={"message": "fine"})
    request = aiplatform_v1.DeployModelRequest.pb()(endpoint=f"{PARENT}/endpoints/1", deployed_model=deployed)

    found = list(request_problems(TABLE["DeployModel"], request))

    assert "GoogleCloudAiplatformV1DeployModelRequest.deployedModel.status: output only" in found


def test_a_call_that_is_not_documented_fails_its_test() -> None:
    """The answers of a server are compared with the document when its test ends."""
    recorder = Recorder()
    wrong = aiplatform_v1.PipelineJob.pb()(state=99)
    (method,) = recorder.watch([replace(TABLE["GetPipelineJob"], handler=lambda _request: wrong)])
    assert method.handler is not None
    method.handler(aiplatform_v1.GetPipelineJobRequest.pb()(name=f"{PARENT}/pipelineJobs/a"))

    with pytest.raises(pytest.fail.Exception, match=r"GetPipelineJob: .*state: 99 is not of type 'string'"):
        recorder.check()


def test_the_answers_of_another_process_are_held_against_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client's channel is recorded where the server's methods cannot be."""
    recorder = Recorder()
    connect(aiplatform_v1.PipelineServiceClient, server, "grpc", recorder=recorder).list_pipeline_jobs(
        parent=PARENT
    )
    with monkeypatch.context() as every_answer_wrong:
        every_answer_wrong.setattr(discovery, "answer_problems", lambda *_: ["wrong"])

        with pytest.raises(pytest.fail.Exception, match="ListPipelineJobs: wrong"):
            recorder.check()
