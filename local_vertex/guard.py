"""The guard in front of the local cloud's HTTP servers: web pages of other origins get nothing done there.

The servers ask for no credentials, and a browser sends to loopback whatever a page tells it to: forms and
images as they are, anything at all once the page's own name is rebound to 127.0.0.1. Three things give a page
away. `Host` is the name that led the browser here, which no page can choose. `Origin` and `Sec-Fetch-Site`
(https://www.w3.org/TR/fetch-metadata/) say which page sends; programs send neither. And a page can send
`application/json` elsewhere only after a preflight, which is never allowed here.

The gRPC ports need no guard: browsers speak HTTP/2 over TLS only, and those ports speak it without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_READING: Final = frozenset({"GET", "HEAD"})
_ELSEWHERE: Final = frozenset({"cross-site", "same-site"})
_JSON: Final = "application/json"
_STATUS: Final = {403: "PERMISSION_DENIED", 501: "UNIMPLEMENTED", 503: "UNAVAILABLE"}


def addresses(port: int, others: Iterable[str] = ()) -> frozenset[str]:
    """Return what `Host` may be for a server on `port`: loopback's names with that port, and `others`."""
    return frozenset({f"{name}:{port}" for name in _LOOPBACK} | {other.lower() for other in others})


def refusal(code: int, message: str) -> JSONResponse:
    """Return an error in the form of Google's JSON APIs."""
    status = _STATUS.get(code, "INVALID_ARGUMENT")
    return JSONResponse({"error": {"code": code, "message": message, "status": status}}, code)


class Guard:
    """An ASGI application that answers 403 or 415, or hands the request to `app`.

    `allowed` are the values of `Host`, see `addresses`. `takes_json` says of a path whether bodies sent
    there must be JSON; elsewhere, as for uploads, only the sender is checked.
    """

    def __init__(
        self, app: ASGIApp, allowed: frozenset[str], takes_json: Callable[[str], bool] = lambda _path: True
    ) -> None:
        self._app = app
        self._allowed = allowed
        self._takes_json = takes_json

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        refused = self._refusal(scope) if scope["type"] == "http" else None
        await (refused or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host = ", ".join(headers.getlist("host")).lower()
        if host not in self._allowed:
            return refusal(
                403,
                f"Host {host!r} is not an address of this server; use 127.0.0.1 with the server's own port, "
                "or name the address, such as that of a tunnel, in LOCAL_GCP_HOSTS (of a single server: "
                "--allow-host)",
            )
        reads = scope["method"] in _READING
        if sender := _foreign_page(headers, host, reads=reads):
            return refusal(
                403,
                f"{scope['method']} was sent by a web page of another origin ({sender}); send it from a "
                "program, or open the URL itself to read",
            )
        if not reads and self._takes_json(scope["path"]) and (given := _other_type(headers)):
            return refusal(
                415, f"the body's Content-Type is {given}; send JSON, with 'Content-Type: {_JSON}'"
            )
        return None


def _foreign_page(headers: Headers, host: str, *, reads: bool) -> str:
    """Name the page elsewhere that sends a request; empty for programs, own pages and links to follow."""
    for origin in headers.getlist("origin"):
        if urlsplit(origin).netloc.lower() != host:
            return f"Origin: {origin}"
    site = headers.get("sec-fetch-site", "")
    is_link = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == ("navigate", "document")
    return f"Sec-Fetch-Site: {site}" if site in _ELSEWHERE and not (reads and is_link) else ""


def _other_type(headers: Headers) -> str:
    """Return the content type of a body that is not said to be JSON; empty for JSON and without a body."""
    given = ", ".join(headers.getlist("content-type"))
    if given.partition(";")[0].strip().lower() == _JSON:
        return ""
    has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
    return given or ("missing" if has_body else "")
