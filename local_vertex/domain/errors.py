"""The failures that a caller of the local Vertex AI can tell apart, one class for each status code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar


class Code(IntEnum):
    """The canonical status codes of google.rpc.Code."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One field of a request that is wrong; becomes google.rpc.BadRequest on the wire."""

    field: str
    description: str


class VertexError(Exception):
    """A failure that reaches the client as a google.rpc.Status.

    `message` is problem + value + remedy. `violations` name the request's fields that caused it.
    """

    code: ClassVar[Code] = Code.UNKNOWN

    def __init__(self, message: str, *, violations: tuple[FieldViolation, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.violations = violations


class Cancelled(VertexError):  # noqa: N818  # named after its status code
    """The work was cancelled, as a rule by its caller."""

    code = Code.CANCELLED


class InvalidArgument(VertexError):  # noqa: N818  # named after its status code
    """The request is wrong whatever the state of the system."""

    code = Code.INVALID_ARGUMENT

    @classmethod
    def of(cls, field: str, description: str) -> InvalidArgument:
        """Return the error for one wrong field of a request."""
        violation = FieldViolation(field=field, description=description)
        return cls(f"{field}: {description}", violations=(violation,))


class NotFound(VertexError):  # noqa: N818  # named after its status code
    """The named resource does not exist."""

    code = Code.NOT_FOUND


class AlreadyExists(VertexError):  # noqa: N818  # named after its status code
    """A resource of that name exists."""

    code = Code.ALREADY_EXISTS


class PermissionDenied(VertexError):  # noqa: N818  # named after its status code
    """The caller may not do this; here: the project is not the local one."""

    code = Code.PERMISSION_DENIED


class ResourceExhausted(VertexError):  # noqa: N818  # named after its status code
    """A bound of this machine is reached (memory, disk, processes)."""

    code = Code.RESOURCE_EXHAUSTED


class FailedPrecondition(VertexError):  # noqa: N818  # named after its status code
    """The resource is not in a state in which this can be done."""

    code = Code.FAILED_PRECONDITION


class Aborted(VertexError):  # noqa: N818  # named after its status code
    """A concurrent change got in the way (etag mismatch); read again, then retry."""

    code = Code.ABORTED


class Unimplemented(VertexError):  # noqa: N818  # named after its status code
    """The local Vertex AI does not support this; nothing was done."""

    code = Code.UNIMPLEMENTED


class Internal(VertexError):  # noqa: N818  # named after its status code
    """A fault of the local Vertex AI or of the container that it runs."""

    code = Code.INTERNAL


class Unavailable(VertexError):  # noqa: N818  # named after its status code
    """Not now; the same request may succeed later."""

    code = Code.UNAVAILABLE
