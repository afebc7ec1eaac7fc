"""Errors to google.rpc.Status and from there to gRPC and HTTP, in this one place."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from google.protobuf import any_pb2, json_format
from google.rpc import error_details_pb2, status_pb2

from local_vertex.domain.errors import Code, Internal, Unimplemented, VertexError
from local_vertex.server.wire_values import check_request

if TYPE_CHECKING:
    from local_vertex.api.messages import Message
    from local_vertex.server.methods import Method

_LOG = logging.getLogger(__name__)
_DOMAIN = "aiplatform.googleapis.com"
# gRPC sends errors as headers, percent-encoded, and a client takes 8 kB of those.
_LONGEST_MESSAGE = 2000
_PERCENT_ENCODED = 3

HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
"""The HTTP status of each code, as documented in google/rpc/code.proto."""


def call(method: Method, request: Message) -> Message:
    """Answer a request; every failure leaves as VertexError."""
    if method.handler is None:
        raise unsupported(method)
    try:
        check_request(request)
        return method.handler(request)
    except VertexError:
        raise
    except Exception as error:
        _LOG.exception("%s failed", method.path)
        raise Internal(
            f"{method.rpc} failed in the local Vertex AI: {type(error).__name__}: {error}"
        ) from error


def unsupported(method: Method) -> Unimplemented:
    """Return the refusal of a method that real Vertex AI has and this one lacks."""
    service = method.service.rpartition(".")[2]
    return Unimplemented(
        f"{service}.{method.rpc} is not supported by the local Vertex AI; nothing was done. "
        "docs/fidelity.md lists what is"
    )


def to_status(error: VertexError) -> status_pb2.Status:
    """Return an error as google.rpc.Status with its details."""
    status = status_pb2.Status(code=int(error.code), message=_sendable(error.message))
    reason = error_details_pb2.ErrorInfo(reason=error.code.name, domain=_DOMAIN)
    details: list[Any] = [reason]
    if error.violations:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=_sendable(each.field), description=_sendable(each.description)
                    )
                    for each in error.violations
                ]
            )
        )
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _sendable(text: str) -> str:
    """Return a message that may quote anything a client sent, of bounded size and without surrogates."""
    text = text.encode(errors="replace").decode()
    size = 0
    for number, char in enumerate(text):
        size += 1 if char.isascii() else _PERCENT_ENCODED * len(char.encode())
        if size > _LONGEST_MESSAGE:
            return f"{text[:number]}…"
    return text


def to_json(error: VertexError) -> dict[str, Any]:
    """Return an error as the JSON body of Google's REST APIs."""
    return {
        "error": {
            "code": HTTP_STATUS[error.code],
            "message": _sendable(error.message),
            "status": error.code.name,
            "details": [json_format.MessageToDict(each) for each in to_status(error).details],
        }
    }
