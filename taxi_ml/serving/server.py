"""The HTTP side of the model server."""

from __future__ import annotations

import json
import logging
import math
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, Protocol

from taxi_ml.serving.instances import BadRequestError, shortened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taxi_ml.serving.instances import InstanceContract
    from taxi_ml.serving.quotes import QuoteBook
    from taxi_ml.serving.settings import ServingSettings

MAX_BODY_BYTES: Final = 10_000_000
"""A dedicated endpoint's limit; Vertex AI's public ones take 1.5 MB. Longer bodies are refused unread."""
_LENGTH_DIGITS: Final = 20
_IDLE_SECONDS: Final = 60
_LOOPBACK: Final = ("127.0.0.1", "localhost")

_LOG: Final = logging.getLogger(__name__)


class Model(Protocol):
    """The interface of a model."""

    contract: InstanceContract
    quotes: QuoteBook

    def predict(self, rows: Sequence[Mapping[str, int | float]]) -> list[float]:
        """Return a fare in USD for each row."""


class PredictionServer(ThreadingHTTPServer):
    """Answers health checks and predictions, in a thread for each connection, from one model.

    It listens at once and answers 503 until `model` is set.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, settings: ServingSettings) -> None:
        self.settings = settings
        self.model: Model | None = None
        super().__init__((settings.host, settings.port), _Handler)


class HttpError(Exception):
    """An error response."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


_LOADING: Final = HttpError(
    HTTPStatus.SERVICE_UNAVAILABLE, "the model is being loaded; ask again in some seconds"
)


class _Handler(BaseHTTPRequestHandler):
    server: PredictionServer
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    # Headers and body are written apart; with Nagle's algorithm the body would wait for an acknowledgement.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if refused := self._refusal():
            self._answer_error(refused)
        elif self._path != self.server.settings.health_route:
            self._answer_error(HttpError(HTTPStatus.NOT_FOUND, f"no route {self._path}"))
        elif self.server.model is None:
            self._answer_error(_LOADING)
        else:
            self._answer(HTTPStatus.OK, {"status": "ok"})

    def do_POST(self) -> None:
        try:
            self._answer(HTTPStatus.OK, {"predictions": self._predictions(self._body())})
        except BadRequestError as error:
            self._answer_error(HttpError(HTTPStatus.BAD_REQUEST, str(error)))
        except HttpError as error:
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                _LOG.error("%s", error)  # the traceback says nothing about the model
            self._answer_error(error)
        except Exception as error:  # noqa: BLE001  # a request's boundary: the server outlives any request
            _LOG.exception("prediction failed")
            self._answer_error(HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, f"prediction failed: {error}"))

    def _refusal(self) -> HttpError | None:
        """Refuse requests of web pages to a server on loopback: other clients send no Origin.

        A browser sends the name that it looked up as `Host`; any name but loopback's was rebound to it.
        """
        if self.server.settings.host not in _LOOPBACK:
            return None
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host in _LOOPBACK and "Origin" not in self.headers:
            return None
        return HttpError(HTTPStatus.FORBIDDEN, "send this from a program on this machine, to 127.0.0.1")

    @property
    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _body(self) -> bytes:
        """Read the body; a connection with an unread body cannot be used again."""
        asked_to_close, self.close_connection = self.close_connection, True
        text = self.headers.get("Content-Length", "")
        if not text.isdecimal():
            raise HttpError(HTTPStatus.LENGTH_REQUIRED, "send a Content-Length")
        # int() refuses thousands of digits.
        if len(text) > _LENGTH_DIGITS or int(text) > MAX_BODY_BYTES:
            raise HttpError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the body has {shortened(text)} bytes; send at most {MAX_BODY_BYTES}",
            )
        if refused := self._refusal():
            raise refused
        if self._path != self.server.settings.predict_route:
            raise HttpError(HTTPStatus.NOT_FOUND, f"no route {self._path}")
        self.close_connection = asked_to_close
        return self.rfile.read(int(text))

    def _predictions(self, body: bytes) -> list[float] | list[dict[str, Any]]:
        model = self.server.model
        if model is None:
            raise _LOADING
        request = model.contract.request(body)
        rows, looked_up = model.quotes.completed(request.rows)
        fares = model.predict(rows)
        for index, fare in enumerate(fares):
            if not 0 <= fare < math.inf:
                raise HttpError(
                    HTTPStatus.INTERNAL_SERVER_ERROR,
                    f"instances[{index}]: the model answered {fare} USD, which is not a fare; "
                    "the whole request fails",
                )
        return model.quotes.details(rows, fares, looked_up) if request.details else fares

    def _answer_error(self, error: HttpError) -> None:
        self._answer(error.status, {"error": {"code": int(error.status), "message": str(error)}})

    def _answer(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
        _LOG.debug("%s " + format, self.address_string(), *args)
