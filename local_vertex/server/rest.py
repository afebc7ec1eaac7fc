"""The REST door: one Starlette application over the table of methods."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from google.api import httpbody_pb2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from local_vertex.domain.errors import Internal, NotFound, VertexError
from local_vertex.server import faults, status, transcoding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from starlette.requests import Request

    from local_vertex.server.methods import Method

_LOG = logging.getLogger(__name__)
_VERBS = ["GET", "POST", "PATCH", "PUT", "DELETE"]
_JSON = "application/json; charset=UTF-8"


class RestApi:
    """Answers HTTP requests by the rules of google.api.http."""

    def __init__(
        self,
        methods: Iterable[Method],
        health: Mapping[str, str],
        *,
        dispatch: faults.Dispatch = faults.faultless,
        pages: Sequence[Route] = (),
    ) -> None:
        """Serve `methods` through `dispatch`, and `pages` beside them."""
        self._router = transcoding.Router(methods)
        self._health = health
        self._dispatch = dispatch
        self._pages = pages

    def application(self) -> Starlette:
        """Return the ASGI application; `/` and `/healthz` say that it lives."""
        return Starlette(
            routes=[
                Route("/", self._healthy),
                Route("/healthz", self._healthy),
                *self._pages,
                Route("/{path:path}", self._answer, methods=_VERBS),
            ],
            exception_handlers={HTTPException: _unknown},
        )

    async def _healthy(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok", **self._health})

    async def _answer(self, request: Request) -> Response:
        body = await request.body()
        try:
            return await run_in_threadpool(self._call, request, body)
        except faults.GarbledReplyError:
            return Response(faults.GARBAGE, media_type=_JSON)
        except faults.LostReplyError as error:
            return StreamingResponse(_cut_off(error), media_type=_JSON)
        except VertexError as error:
            return _refusal(error)
        except Exception as error:  # noqa: BLE001  # the boundary of a request: a client reads JSON only
            _LOG.exception("%s %s failed", request.method, request.url.path)
            return _refusal(Internal(f"the local Vertex AI failed: {type(error).__name__}: {error}"))

    def _call(self, request: Request, body: bytes) -> Response:
        path = request.scope["raw_path"].decode("ascii", errors="replace").partition("?")[0]
        route = self._router.find(request.method, path)
        if route is None:
            raise _no_method(request.method, path)
        if route.method.handler is None:
            raise status.unsupported(route.method)
        query = request.query_params.multi_items()
        content_type = request.headers.get("content-type", "")
        message = transcoding.parse_request(route, query, body, content_type)
        response = self._dispatch(route.method, message, request.headers.get(faults.HEADER, ""))
        if isinstance(response, httpbody_pb2.HttpBody):
            return Response(response.data, media_type=response.content_type)
        content = transcoding.to_json(response, enum_numbers=transcoding.wants_enum_numbers(query))
        return Response(content, media_type=_JSON)


def _no_method(verb: str, path: str) -> NotFound:
    return NotFound(f"{verb} {path} is not a method of Vertex AI's v1 REST API")


async def _unknown(request: Request, _error: Exception) -> Response:
    return _refusal(_no_method(request.method, request.url.path))


def _refusal(error: VertexError) -> Response:
    return Response(json.dumps(status.to_json(error)), status.HTTP_STATUS[error.code], media_type=_JSON)


def _cut_off(error: faults.LostReplyError) -> Iterator[bytes]:
    """Make the web server close the connection in the middle of the reply."""
    yield b"{"
    raise error
