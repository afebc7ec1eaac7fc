"""PredictionService: predictions by the deployed models, chosen by the traffic split."""

from __future__ import annotations

import json
import math
import time
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from google.api import httpbody_pb2
from google.cloud import aiplatform_v1
from google.protobuf import json_format

from local_vertex.api.collection import Collection
from local_vertex.api.endpoints import ENDPOINT, find_deployed
from local_vertex.api.messages import plain
from local_vertex.domain.errors import (
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from local_vertex.domain.names import EndpointName
from local_vertex.monitoring.samples import Served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf import struct_pb2

    from local_vertex.api.messages import Message
    from local_vertex.api.region import Region
    from local_vertex.domain.errors import (
        VertexError,
    )
    from local_vertex.monitoring.samples import Request, Samples

    AskModel = Callable[[Message, bytes], tuple[int, bytes]]
    """Posts a body to the server of a deployed model, as `ModelServers.predict` does."""

_OK = 200
_CLIENT_ERRORS = range(400, 500)
_TOO_MANY = 429
_NOT_NOW = 503
_LONGEST_MESSAGE = 2000
_MAX_REQUEST_BYTES = 1_572_864
"""Largest request of a public endpoint, in bytes: https://cloud.google.com/vertex-ai/docs/quotas#model_serving."""


class PredictionService:
    """Answers google.cloud.aiplatform.v1.PredictionService, as far as custom containers go.

    Every request that reaches a deployed model is counted in `samples`.
    """

    def __init__(self, region: Region, ask: AskModel, samples: Samples) -> None:
        self._region = region
        self._ask_model = ask
        self._samples = samples
        self._endpoints = Collection(region.store, ENDPOINT)
        self._random = SystemRandom()

    def predict(self, request: Message) -> Message:
        """Answer Predict: instances to the container, its predictions back.

        Every number reaches the container as a double, which is what a Value carries. A 4xx of the container
        becomes INVALID_ARGUMENT with the container's message.
        """
        begin = time.perf_counter()
        _check_size(request.ByteSize())
        content: dict[str, Any] = {"instances": [plain(each) for each in request.instances]}
        if request.HasField("parameters"):
            content["parameters"] = plain(request.parameters)
        body = json.dumps(content).encode()
        # Which of its two forms the service measures is not documented.
        _check_size(len(body))
        endpoint, deployed = self._choose(request.endpoint)
        with self._samples.request(_served(endpoint, deployed), begin) as counted:
            response = _response(deployed, _parse(self._ask(deployed, body, counted)))
            counted.predictions = len(request.instances)
        return response

    def raw_predict(self, request: Message) -> Message:
        """Answer RawPredict: the body to the container and its answer back, as they are."""
        begin = time.perf_counter()
        _check_size(len(request.http_body.data))
        endpoint, deployed = self._choose(request.endpoint)
        with self._samples.request(_served(endpoint, deployed), begin) as counted:
            body = self._ask(deployed, request.http_body.data, counted)
            # Its form is the container's own: how many instances it answers is unknown.
            counted.predictions = 1
        return httpbody_pb2.HttpBody(content_type="application/json", data=body)

    def _choose(self, name: str) -> tuple[Message, Message]:
        """Return the endpoint, and the one of its deployed models that is to answer."""
        endpoint = self._endpoints.get(str(EndpointName.parse(self._region.canonical(name))))
        if not endpoint.deployed_models:
            raise FailedPrecondition(f"endpoint '{endpoint.name}' has no deployed model; deploy one first")
        split = self._split_in_effect(endpoint)
        if not split:
            # In the service's own words, by which clients know it.
            raise FailedPrecondition(f"Endpoint {endpoint.name} doesn't have traffic_split.")
        ids, percentages = zip(*split.items(), strict=True)
        chosen = self._random.choices(ids, percentages)[0]
        try:
            return endpoint, find_deployed(endpoint, chosen)
        except NotFound as error:
            raise Unavailable(f"deployed model '{chosen}' is undeployed; retry") from error

    def _split_in_effect(self, endpoint: Message) -> dict[str, int]:
        """Return the split by which requests are routed now, which the last change may not have reached."""
        late = self._region.lags.traffic
        if not late:
            return dict(endpoint.traffic_split)
        known = (each for each in self._endpoints.earlier(age=late) if each.name == endpoint.name)
        return next((dict(each.traffic_split) for each in known), {})

    def _ask(self, deployed: Message, body: bytes, counted: Request) -> bytes:
        try:
            with counted.of_model():
                status, answer = self._ask_model(deployed, body)
        except NotFound as error:
            reason = deployed.status.message or "its server is starting"
            raise Unavailable(f"deployed model '{deployed.id}' does not answer: {reason}") from error
        if status != _OK:
            raise _refused(deployed, status, answer)
        return answer


def _served(endpoint: Message, deployed: Message) -> Served:
    return Served(
        endpoint_id=endpoint.name.rpartition("/")[2],
        endpoint_display_name=endpoint.display_name,
        deployed_model_id=deployed.id,
        model_display_name=deployed.display_name,
    )


def _response(deployed: Message, answer: dict[str, Any]) -> Message:
    response = aiplatform_v1.PredictResponse.pb()(
        deployed_model_id=deployed.id,
        model=deployed.model,
        model_version_id=deployed.model_version_id,
        model_display_name=deployed.display_name,
    )
    try:
        json_format.ParseDict(answer, response)
    except json_format.ParseError as error:
        raise Internal(
            f"the model's container answered with a value that a Value cannot hold: {error}"
        ) from error
    for index, each in enumerate(response.predictions):
        for found in _not_finite(each, f"predictions[{index}]"):
            raise Internal(f"the model's container answered with something other than JSON: {found}")
    return response


def _check_size(size: int) -> None:
    if size > _MAX_REQUEST_BYTES:
        raise InvalidArgument(f"Request payload size exceeds the limit: {_MAX_REQUEST_BYTES} bytes.")


def _not_finite(value: struct_pb2.Value, place: str) -> Iterator[str]:
    """Yield the place of each number that JSON does not have, with the number."""
    kind = value.WhichOneof("kind")
    if kind == "number_value" and not math.isfinite(value.number_value):
        yield f"{place} is {value.number_value}"
    if kind == "list_value":
        for index, each in enumerate(value.list_value.values):
            yield from _not_finite(each, f"{place}[{index}]")
    if kind == "struct_value":
        for name, each in value.struct_value.fields.items():
            yield from _not_finite(each, f"{place}.{name}")


def _parse(answer: bytes) -> dict[str, Any]:
    try:
        content = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise Internal(f"the model's container did not answer valid JSON: {_shown(answer)}") from error
    if not isinstance(content, dict) or not isinstance(content.get("predictions"), list):
        raise Internal(f"the model's container answered without a list 'predictions': {_shown(answer)}")
    return {"predictions": content["predictions"]}


def _refused(deployed: Message, status: int, answer: bytes) -> VertexError:
    message = _message(answer)
    if status == _TOO_MANY:
        return ResourceExhausted(message)
    if status in _CLIENT_ERRORS:
        return InvalidArgument(message)
    if status == _NOT_NOW:
        return Unavailable(message)
    return Internal(f"deployed model '{deployed.id}' answered with HTTP {status}: {message}")


def _message(answer: bytes) -> str:
    """Return the message in a container's error, in one of the usual JSON forms or as text."""
    try:
        content = json.loads(answer)
    except (ValueError, RecursionError):
        return _shown(answer)
    while isinstance(content, dict):
        content = next(
            (content[key] for key in ("error", "message", "detail") if key in content), str(content)
        )
    return str(content)[:_LONGEST_MESSAGE]


def _shown(answer: bytes) -> str:
    return answer[:_LONGEST_MESSAGE].decode(errors="replace")
