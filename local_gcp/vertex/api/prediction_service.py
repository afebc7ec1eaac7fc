"""PredictionService: predictions by the deployed models, chosen by the traffic split."""

from __future__ import annotations

import json
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from google.api import httpbody_pb2
from google.cloud import aiplatform_v1
from google.protobuf import json_format

from local_gcp.vertex.api.endpoints import ENDPOINT, find_deployed
from local_gcp.vertex.api.messages import plain
from local_gcp.vertex.api.resources import Collection
from local_gcp.vertex.domain.errors import (
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from local_gcp.vertex.domain.names import EndpointName

if TYPE_CHECKING:
    from local_gcp.vertex.api.messages import Message
    from local_gcp.vertex.api.region import Region
    from local_gcp.vertex.domain.errors import (
        VertexError,
    )
    from local_gcp.vertex.engine.ports import ModelServers

_OK = 200
_CLIENT_ERRORS = range(400, 500)
_TOO_MANY = 429
_NOT_NOW = 503
_LONGEST_MESSAGE = 2000


class PredictionService:
    """Answers google.cloud.aiplatform.v1.PredictionService, as far as custom containers go."""

    def __init__(self, region: Region, servers: ModelServers) -> None:
        self._region = region
        self._servers = servers
        self._endpoints = Collection(region.store, ENDPOINT)
        self._random = SystemRandom()

    def predict(self, request: Message) -> Message:
        """Answer Predict: instances to the container, its predictions back.

        A 4xx of the container becomes INVALID_ARGUMENT with the container's message.
        """
        deployed = self._choose(request.endpoint)
        content: dict[str, Any] = {"instances": [_whole(plain(each)) for each in request.instances]}
        if request.HasField("parameters"):
            content["parameters"] = _whole(plain(request.parameters))
        answer = _parse(self._ask(deployed, json.dumps(content).encode()))
        response = aiplatform_v1.PredictResponse.pb()(
            deployed_model_id=deployed.id,
            model=deployed.model,
            model_version_id=deployed.model_version_id,
            model_display_name=deployed.display_name,
        )
        json_format.ParseDict(answer, response)
        return response

    def raw_predict(self, request: Message) -> Message:
        """Answer RawPredict: the body to the container and its answer back, as they are."""
        deployed = self._choose(request.endpoint)
        body = self._ask(deployed, request.http_body.data)
        return httpbody_pb2.HttpBody(content_type="application/json", data=body)

    def _choose(self, name: str) -> Message:
        endpoint = self._endpoints.get(str(EndpointName.parse(self._region.canonical(name))))
        if not endpoint.deployed_models:
            raise FailedPrecondition(f"endpoint '{endpoint.name}' has no deployed model; deploy one first")
        if not endpoint.traffic_split:
            raise FailedPrecondition(
                f"endpoint '{endpoint.name}' has no traffic split; give traffic to a model"
            )
        ids, percentages = zip(*endpoint.traffic_split.items(), strict=True)
        return find_deployed(endpoint, self._random.choices(ids, percentages)[0])

    def _ask(self, deployed: Message, body: bytes) -> bytes:
        try:
            status, answer = self._servers.predict(deployed.id, body)
        except NotFound as error:
            reason = deployed.status.message or "its server is starting"
            raise Unavailable(f"deployed model '{deployed.id}' does not answer: {reason}") from error
        if status != _OK:
            raise _refused(deployed, status, answer)
        return answer


def _whole(content: Any) -> Any:  # noqa: ANN401  # JSON
    """Return plain JSON with whole numbers as integers: a Value keeps every number as a double."""
    if isinstance(content, float) and content.is_integer():
        return int(content)
    if isinstance(content, list):
        return [_whole(each) for each in content]
    if isinstance(content, dict):
        return {key: _whole(each) for key, each in content.items()}
    return content


def _parse(answer: bytes) -> dict[str, Any]:
    try:
        content = json.loads(answer)
    except ValueError as error:
        raise Internal(f"the model's container answered no JSON: {_shown(answer)}") from error
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
    except ValueError:
        return _shown(answer)
    while isinstance(content, dict):
        content = next(
            (content[key] for key in ("error", "message", "detail") if key in content), str(content)
        )
    return str(content)[:_LONGEST_MESSAGE]


def _shown(answer: bytes) -> str:
    return answer[:_LONGEST_MESSAGE].decode(errors="replace")
