"""Faults on the wire: calls that fail, dawdle, lose their reply, answer nonsense or hang, as a client orders.

The idea is that of the instructions header of googleapis/storage-testbench.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum, unique
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeAlias

from local_vertex.api.messages import Message
from local_vertex.domain.errors import Code, InvalidArgument, Unavailable, VertexError
from local_vertex.server import status
from local_vertex.server.methods import Method

if TYPE_CHECKING:
    from typing import Self

HEADER = "x-local-vertex-fault"
"""The HTTP header and gRPC metadata key in which a request orders its own fault."""

GARBAGE = b"\xff\xfe this is neither protobuf nor JSON"

_LONGEST_SECONDS = 600.0
_FORMS = "fail=CODE[:MESSAGE], delay=SECONDS, lose-reply, garbage or hang[=SECONDS]"

Dispatch: TypeAlias = Callable[[Method, Message, str], Message]
"""Answers a request; the string is the order in the request's header, empty without one."""


class LostReplyError(Exception):
    """The call has acted, and its reply is not to arrive."""


class GarbledReplyError(Exception):
    """The call has acted, and its reply is to be unreadable."""


class OrderedError(VertexError):
    """The failure that was ordered; its code is the order's."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # the other errors have one code a class


@unique
class FaultKind(StrEnum):
    """Kinds of faults. `fail` and `hang` never act; the others do."""

    FAIL = "fail"
    DELAY = "delay"
    LOSE_REPLY = "lose-reply"
    GARBAGE = "garbage"
    HANG = "hang"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault; `code` and `message` belong to `fail`, `seconds` to `delay` and `hang`."""

    kind: FaultKind
    code: Code = Code.UNAVAILABLE
    message: str = ""
    seconds: float = _LONGEST_SECONDS

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the fault of `fail=CODE[:MESSAGE]`, `delay=S`, `lose-reply`, `garbage` or `hang[=S]`.

        Raises:
            InvalidArgument: for any other string.

        """
        name, _, value = text.strip().partition("=")
        try:
            kind = FaultKind(name)
            if kind is FaultKind.FAIL:
                code, _, message = value.partition(":")
                return cls(kind=kind, code=Code[code], message=message)
            if kind is FaultKind.DELAY or (kind is FaultKind.HANG and value):
                return cls(kind=kind, seconds=_seconds(value))
        except (ValueError, KeyError) as error:
            raise InvalidArgument(f"'{text}' is not a fault; write {_FORMS}") from error
        if value:
            raise InvalidArgument(f"'{text}' is not a fault: {kind} takes no value")
        return cls(kind=kind)

    def __str__(self) -> str:
        """Return the text that orders it."""
        if self.kind is FaultKind.FAIL:
            return f"{self.kind}={self.code.name}" + (f":{self.message}" if self.message else "")
        return f"{self.kind}={self.seconds:g}" if self.kind in _TIMED else self.kind.value


_TIMED = frozenset({FaultKind.DELAY, FaultKind.HANG})


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """The fault of the next `calls` calls of the methods that a pattern such as `Get*Job` matches."""

    method: str
    fault: Fault
    calls: int


def faultless(method: Method, request: Message, _order: str) -> Message:
    """Answer a request, whatever its header orders."""
    return status.call(method, request)


class Faults:
    """Answers requests with the faults that they, or earlier orders for their method, call for."""

    def __init__(self) -> None:
        self._planned: list[PlannedFault] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def plan(self, planned: PlannedFault) -> None:
        """Order a fault for calls to come; orders are used up in arrival order."""
        with self._lock:
            self._planned.append(planned)

    def planned(self) -> tuple[PlannedFault, ...]:
        """Return the orders that are not used up."""
        with self._lock:
            return tuple(self._planned)

    def clear(self) -> None:
        """Forget all orders."""
        with self._lock:
            self._planned.clear()

    def close(self) -> None:
        """Release the calls that hang or wait."""
        self._closing.set()

    def dispatch(self, method: Method, request: Message, order: str) -> Message:
        """Answer a request.

        Raises:
            LostReplyError, GarbledReplyError: the call has acted, and the door is to spoil its reply.
            VertexError: the call's own error, or the one that was ordered.

        """
        fault = Fault.parse(order) if order else self._next(method.rpc)
        if fault is None:
            return status.call(method, request)
        self._before(fault, method)
        answer = status.call(method, request)
        if fault.kind is FaultKind.LOSE_REPLY:
            raise LostReplyError(method.path)
        if fault.kind is FaultKind.GARBAGE:
            raise GarbledReplyError(method.path)
        return answer

    def _before(self, fault: Fault, method: Method) -> None:
        if fault.kind is FaultKind.FAIL:
            message = fault.message or f"{method.rpc} fails with {fault.code.name}, as was ordered"
            raise OrderedError(fault.code, message)
        if fault.kind in _TIMED:
            self._closing.wait(fault.seconds)
        if fault.kind is FaultKind.HANG:
            raise Unavailable(f"{method.rpc} hung for {fault.seconds:g} s, as was ordered; nothing was done")

    def _next(self, rpc: str) -> Fault | None:
        with self._lock:
            for index, planned in enumerate(self._planned):
                if fnmatchcase(rpc, planned.method):
                    rest = replace(planned, calls=planned.calls - 1)
                    self._planned[index : index + 1] = [rest] if rest.calls else []
                    return planned.fault
        return None


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= _LONGEST_SECONDS:
        raise ValueError(text)
    return seconds
