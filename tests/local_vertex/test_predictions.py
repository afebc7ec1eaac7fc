"""Predictions through the official clients, over gRPC and REST."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from google.api_core import exceptions
from google.cloud import aiplatform_v1
from google.protobuf import json_format, struct_pb2

from tests.local_vertex.servers import connect
from tests.local_vertex.test_endpoints import deploy
from tests.local_vertex.test_models import upload

if TYPE_CHECKING:
    from tests.local_vertex.servers import Client, Server


def instances(count: int) -> list[struct_pb2.Value]:
    """Return instances of one feature."""
    return [json_format.ParseDict({"miles": 2.5}, struct_pb2.Value()) for _ in range(count)]


def test_predict(endpoints: Client, models: Client, prediction: Client, endpoint: str) -> None:
    """A prediction says which deployed model and version made it."""
    model = upload(models)
    deployed_id = deploy(endpoints, endpoint, model.name, {"0": 100})
    answer = prediction.predict(endpoint=endpoint, instances=instances(2))

    assert list(answer.predictions) == ["gs://bkt/model", "gs://bkt/model"]
    assert (answer.deployed_model_id, answer.model, answer.model_version_id) == (deployed_id, model.name, "1")


def test_predict_follows_the_split(
    endpoints: Client, models: Client, prediction: Client, endpoint: str
) -> None:
    """Requests are spread by the split."""
    model = upload(models)
    first = deploy(endpoints, endpoint, model.name, {"0": 100})
    second = deploy(endpoints, endpoint, model.name, {first: 70, "0": 30})
    answers = Counter(
        prediction.predict(endpoint=endpoint, instances=instances(1)).deployed_model_id for _ in range(200)
    )

    assert 100 < answers[first] < 180
    assert answers[first] + answers[second] == 200


def test_the_containers_refusal(endpoints: Client, models: Client, prediction: Client, endpoint: str) -> None:
    """A 400 of the container is INVALID_ARGUMENT with its message."""
    deploy(endpoints, endpoint, upload(models).name, {"0": 100})
    empty = json_format.ParseDict({}, struct_pb2.Value())

    with pytest.raises(exceptions.BadRequest, match="'pickup_area' is missing"):
        prediction.predict(endpoint=endpoint, instances=[empty])


@pytest.fixture
def serving(endpoints: Client, models: Client, endpoint: str) -> str:
    """Return an endpoint with a model that has all of the traffic."""
    deploy(endpoints, endpoint, upload(models).name, {"0": 100})
    return endpoint


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_does_not_have_is_refused(server: Server, serving: str, number: float) -> None:
    """NaN and infinity, which gRPC carries, are INVALID_ARGUMENT with their place."""
    prediction = connect(aiplatform_v1.PredictionServiceClient, server, "grpc")
    value = struct_pb2.Value()
    value.struct_value.fields["legs"].list_value.values.add().number_value = number

    with pytest.raises(exceptions.BadRequest, match=r"instances\[0\].legs\[0\]: (nan|-?inf) is not a number"):
        prediction.predict(endpoint=serving, instances=[value])


def test_a_request_above_the_limit_is_refused(prediction: Client, serving: str) -> None:
    """More than 1.5 MB is INVALID_ARGUMENT, in the words of the service; a little less is answered."""
    fits, exceeds = (struct_pb2.Value(string_value="x" * size) for size in (1_500_000, 1_572_864))

    assert len(prediction.predict(endpoint=serving, instances=[fits]).predictions) == 1
    with pytest.raises(exceptions.BadRequest, match="Request payload size exceeds the limit: 1572864 bytes"):
        prediction.predict(endpoint=serving, instances=[exceeds])


def test_numbers_reach_the_container_as_doubles(prediction: Client, serving: str, server: Server) -> None:
    """A Value knows no integers: 7 is 7.0 for the container."""
    prediction.predict(endpoint=serving, instances=[json_format.ParseDict({"hour": 7}, struct_pb2.Value())])

    assert server.models.bodies[-1] == b'{"instances": [{"hour": 7.0}]}'


def test_parameters_reach_the_container(prediction: Client, serving: str, server: Server) -> None:
    """The request's parameters are beside its instances, and predictions may be objects."""
    server.models.answer = b'{"predictions": [{"fare": 7.5, "low": null, "looked_up": ["miles"]}]}'
    parameters = json_format.ParseDict({"details": True}, struct_pb2.Value())
    answer = prediction.predict(endpoint=serving, instances=instances(1), parameters=parameters)

    assert server.models.bodies[-1] == b'{"instances": [{"miles": 2.5}], "parameters": {"details": true}}'
    assert answer.predictions[0]["fare"] == 7.5
    assert list(answer.predictions[0]["looked_up"]) == ["miles"]


@pytest.mark.parametrize("answer", [b'{"predictions": [NaN]}', b'{"predictions": [1e999]}', b"[" * 100_000])
def test_an_answer_that_is_not_json_is_the_containers_error(
    prediction: Client, serving: str, server: Server, answer: bytes
) -> None:
    """An answer of the container that is not valid JSON is INTERNAL, and the error blames the container."""
    server.models.answer = answer

    with pytest.raises(exceptions.InternalServerError, match="the model's container"):
        prediction.predict(endpoint=serving, instances=instances(1))


def test_predict_without_models(prediction: Client, endpoint: str) -> None:
    """An endpoint with nothing deployed says so."""
    with pytest.raises(exceptions.BadRequest, match="no deployed model"):
        prediction.predict(endpoint=endpoint, instances=instances(1))


def test_streams_are_refused(prediction: Client, endpoint: str) -> None:
    """A prediction as a stream is UNIMPLEMENTED, not an endless wait."""
    with pytest.raises(exceptions.MethodNotImplemented, match="StreamGenerateContent is not supported"):
        list(prediction.stream_generate_content(model=endpoint, contents=[]))
