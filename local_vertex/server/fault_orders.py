"""The admin page of faults, `/faults`: order them for calls or models, list the orders, forget them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from local_vertex.domain.errors import InvalidArgument, PermissionDenied, VertexError
from local_vertex.server import status
from local_vertex.server.faults import Fault, PlannedFault
from local_vertex.server.model_faults import ModelFault
from local_vertex.server.wire_values import read_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from local_vertex.server.faults import Faults
    from local_vertex.server.model_faults import ModelFaults

_EXAMPLE = '{"method": "CreatePipelineJob", "fault": "lose-reply", "calls": 1}'
_MODEL_EXAMPLE = '{"deployed_model": "*", "fault": "delay=0.5", "share": 1.0}'


class FaultOrders:
    """Answers GET, POST and DELETE of `/faults`, to callers on this machine only.

    POST takes a method, or a pattern such as `Get*`, a fault as `Fault.parse` reads it, and for how many
    calls it is meant; or a deployed model as in `ModelFault`, a fault, and for which share of its requests.
    All three answer with the orders that are left.
    """

    def __init__(self, faults: Faults, models: ModelFaults) -> None:
        self._faults = faults
        self._models = models

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
                self._models.clear()
            if request.method == "POST":
                self._plan(read_json(body))
        except VertexError as error:
            return JSONResponse(status.to_json(error), status.HTTP_STATUS[error.code])
        orders = [
            {"method": each.method, "fault": str(each.fault), "calls": each.calls}
            for each in self._faults.planned()
        ]
        models = [
            {"deployed_model": each.deployed_model, "fault": str(each.fault), "share": each.share}
            for each in self._models.planned()
        ]
        return JSONResponse({"faults": orders + models})

    def _plan(self, order: Any) -> None:  # noqa: ANN401  # JSON
        if isinstance(order, dict) and "deployed_model" in order:
            self._models.plan(_parse_of_model(order))
        else:
            self._faults.plan(_parse(order))


def _parse_of_model(order: dict[str, Any]) -> ModelFault:
    try:
        model, fault, share = str(order["deployed_model"]), str(order["fault"]), float(order.get("share", 1))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise InvalidArgument(
            f"this is not an order of a model's fault ({error!r}); send for instance {_MODEL_EXAMPLE}"
        ) from error
    if not 0 < share <= 1:
        raise InvalidArgument(
            f"share is {share:g}; a fault is meant for more than 0 and up to 1 of the requests"
        )
    return ModelFault(deployed_model=model, fault=Fault.parse(fault), share=share)


def _parse(order: Any) -> PlannedFault:  # noqa: ANN401  # JSON
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
