"""The admin page of faults, `/faults`: order them for calls to come, list the orders, forget them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from local_vertex.domain.errors import InvalidArgument, PermissionDenied, VertexError
from local_vertex.server import status
from local_vertex.server.faults import Fault, PlannedFault
from local_vertex.server.wire_values import read_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from local_vertex.server.faults import Faults

_EXAMPLE = '{"method": "CreatePipelineJob", "fault": "lose-reply", "calls": 1}'


class FaultOrders:
    """Answers GET, POST and DELETE of `/faults`, to callers on this machine only.

    POST takes a method, or a pattern such as `Get*`, a fault as `Fault.parse` reads it, and for how many
    calls it is meant. All three answer with the orders that are left.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def route(self) -> Route:
        """Return the route for the REST door."""
        return Route("/faults", self._answer, methods=["GET", "POST", "DELETE"])

    async def _answer(self, request: Request) -> Response:
        body = await request.body()
        try:
            # Behind a published port or a tunnel the server is not on loopback for everyone.
            if request.client is None or not ip_address(request.client.host).is_loopback:
                raise PermissionDenied("faults are ordered from this machine only")
            if request.method == "DELETE":
                self._faults.clear()
            if request.method == "POST":
                self._faults.plan(_parse(body))
        except VertexError as error:
            return JSONResponse(status.to_json(error), status.HTTP_STATUS[error.code])
        orders = [
            {"method": each.method, "fault": str(each.fault), "calls": each.calls}
            for each in self._faults.planned()
        ]
        return JSONResponse({"faults": orders})


def _parse(body: bytes) -> PlannedFault:
    order: Any = read_json(body)
    try:
        method, fault, calls = str(order["method"]), str(order["fault"]), int(order.get("calls", 1))
        method.encode()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidArgument(
            f"this is not an order of a fault ({error!r}); send for instance {_EXAMPLE}"
        ) from error
    if calls < 1:
        raise InvalidArgument(f"calls is {calls}; a fault is meant for one call or more")
    return PlannedFault(method=method, fault=Fault.parse(fault), calls=calls)
