"""Cloud Storage as a service: fake-gcs-server behind a guard. ``python -m local_gcp.gcs_server`` runs both.

fake-gcs-server checks neither the sender nor the path that a name leads to, and lets every web page read. So
it speaks TLS only, with a certificate that this process trusts and browsers do not, and every request passes
through here. Bodies are streamed without parsing unless they can contain names (see `gcs_names`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import ssl
import sys
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlencode

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from local_gcp import certificates, gcs, gcs_names, ports
from local_vertex.api.region import PROJECT_NUMBER
from local_vertex.guard import Guard, addresses, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.requests import Request

Pairs: TypeAlias = list[tuple[str, str]]
_READING: Final = frozenset({"GET", "HEAD", "DELETE"})
_VERBS: Final = [*_READING, "POST", "PUT", "PATCH"]
# Batches are refused: fake-gcs-server ignores the requests in those of Google's client.
_WRITABLE: Final = re.compile(r"/storage/v1/.+|/upload/storage/v1/b/[^/]+/o/?|/upload/resumable/.+")
_BUCKETS: Final = re.compile(r"/storage/v1/b(/[^/]+)?/?")
_NAME: Final = "localhost"
_DOCUMENT_BYTES: Final = 1 << 20
# TLS yields 16 KB at a time; forwarding fewer, larger chunks makes downloads faster.
_CHUNK_BYTES: Final = 1 << 18
_STOP_SECONDS: Final = 2
# Longer than clients pause between requests, so that a connection does not close as one is being sent.
_KEEP_ALIVE_SECONDS: Final = 600
_FOR_ONE_HOP: Final = frozenset(
    {b"connection", b"expect", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The service's options; `url` is its own, for links in its answers."""

    host: str
    port: int
    root: Path
    certificates: Path
    location: str
    url: str
    allowed: tuple[str, ...] = ()


class Front:
    """Forwards requests to fake-gcs-server at `port`, with a certificate signed by the authority in `ca`."""

    def __init__(self, port: int, ca: Path) -> None:
        self._origin = f"https://{_NAME}:{port}"
        self.client = httpx.AsyncClient(
            verify=ssl.create_default_context(cafile=str(ca)),
            timeout=None,  # noqa: S113  # copying a large object answers only when it is done
            limits=httpx.Limits(max_connections=None),
            trust_env=False,
        )

    async def answer(self, request: Request) -> Response:
        """Answer a request that passed the guard."""
        path = request.scope["raw_path"].decode("latin-1")
        if request.method not in _READING and not _WRITABLE.fullmatch(path):
            return refusal(
                501, f"{request.method} {path} is not supported; use the JSON API of Cloud Storage"
            )
        try:
            gcs_names.check_path(path)
            query, body = await _inspected(request, path)
        except gcs_names.UnsafeNameError as error:
            return refusal(400, str(error))
        try:
            return await self._forward(request, f"{self._origin}{path}?{urlencode(query)}", body)
        except (httpx.HTTPError, ClientDisconnect) as error:
            return refusal(503, f"fake-gcs-server did not answer ({error!r}); try again, and see its log")

    async def _forward(self, request: Request, url: str, body: bytes | AsyncIterator[bytes]) -> Response:
        headers = [(key, value) for key, value in request.headers.raw if key not in _FOR_ONE_HOP]
        if isinstance(body, bytes):
            headers = [(key, value) for key, value in headers if key != b"content-length"]
        headers.append((b"x-forwarded-proto", b"http"))  # the scheme of links in answers
        answer = await self.client.send(
            httpx.Request(request.method, url, headers=headers, content=body), stream=True
        )
        if _BUCKETS.fullmatch(request.url.path) and answer.status_code == HTTPStatus.OK:
            return await _owned(answer)
        response = StreamingResponse(_content(answer), answer.status_code)
        headers = [(key.lower(), value) for key, value in answer.headers.raw]
        # Its CORS headers would let every web page read.
        response.raw_headers = [
            (key, value)
            for key, value in headers
            if key not in _FOR_ONE_HOP and not key.startswith(b"access-control-")
        ]
        return response


async def _owned(answer: httpx.Response) -> Response:
    """Return buckets with their project's number, which clients compare; fake-gcs-server answers 0."""
    async with contextlib.aclosing(answer):
        content = await answer.aread()
    if not content:
        return Response()
    document = json.loads(content)
    for bucket in document.get("items", [document]):
        bucket["projectNumber"] = PROJECT_NUMBER
    return JSONResponse(document)


async def _content(answer: httpx.Response) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(answer):
        async for chunk in answer.aiter_raw(_CHUNK_BYTES):
            yield chunk


async def _inspected(request: Request, path: str) -> tuple[Pairs, bytes | AsyncIterator[bytes]]:
    """Return the query and the body; raise UnsafeNameError if a name in them is unsafe.

    fake-gcs-server's routes and handlers determine which bodies contain names.
    """
    query = gcs_names.checked_query(request.scope["query_string"].decode("latin-1"))
    if request.method in _READING:
        return query, b""
    chunks = request.stream()
    upload_type = next((value for key, value in query if key == "uploadType"), "")
    if upload_type == "multipart":
        # A name in the query takes precedence over the one in the metadata.
        has_name = any(key == "name" for key, _ in query)
        return (query, chunks) if has_name else await _multipart(request, query, chunks)
    is_content = request.method == "PUT" or upload_type == "media" or path.startswith("/upload/resumable/")
    if path.startswith("/upload/") and is_content:
        return query, chunks
    _require_plain(request)
    body = b"".join([chunk async for chunk in _bounded(chunks)])
    return query, body and gcs_names.checked_document(body)


async def _multipart(
    request: Request, query: Pairs, chunks: AsyncIterator[bytes]
) -> tuple[Pairs, AsyncIterator[bytes]]:
    """Copy the name from an upload's metadata to its query, where it takes precedence."""
    _require_plain(request)
    start = b""
    async for chunk in _bounded(chunks):
        start += chunk
        name = gcs_names.multipart_name(request.headers.get("content-type", ""), start)
        if name is not None:
            return [*query, ("name", name)], _joined(start, chunks)
    raise gcs_names.UnsafeNameError("the metadata of the multipart upload is incomplete; send a second part")


def _require_plain(request: Request) -> None:
    if "content-encoding" in request.headers:
        raise gcs_names.UnsafeNameError("this body contains names; send it without a Content-Encoding")


async def _bounded(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > _DOCUMENT_BYTES:
            raise gcs_names.UnsafeNameError(f"names must end within {_DOCUMENT_BYTES} bytes of a body")
        yield chunk


async def _joined(start: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield start
    async for chunk in rest:
        yield chunk


class GcsServer:
    """The two servers; when one ends, so does the other."""

    def __init__(self, options: Options) -> None:
        certificates.write(options.certificates, [_NAME])
        self._options = options
        self._port = ports.assign(["gcs"], {})["gcs"]
        self._front = Front(self._port, options.certificates / "ca.pem")
        application = Starlette(
            routes=[Route("/{path:path}", self._front.answer, methods=_VERBS)], lifespan=self._life
        )
        self._server = uvicorn.Server(
            uvicorn.Config(
                Guard(
                    application,
                    addresses(options.port, options.allowed),
                    lambda path: path.startswith("/storage/"),
                ),
                host=options.host,
                port=options.port,
                log_level="warning",
                access_log=False,
                date_header=False,  # fake-gcs-server sends one
                timeout_graceful_shutdown=_STOP_SECONDS,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            )
        )
        self._ended_early = False

    def serve(self) -> int:
        """Serve until SIGTERM or SIGINT, or until fake-gcs-server ends; return the exit status."""
        self._server.run()
        return int(self._ended_early or not self._server.started)

    @contextlib.asynccontextmanager
    async def _life(self, _application: Starlette) -> AsyncIterator[None]:
        child = await asyncio.create_subprocess_exec(*self._command())
        watching = asyncio.create_task(self._end_with(child))
        async with self._front.client:
            yield
        watching.cancel()
        if child.returncode is None:
            child.terminate()
            await child.wait()

    async def _end_with(self, child: asyncio.subprocess.Process) -> None:
        await child.wait()
        self._ended_early = True
        self._server.should_exit = True

    def _command(self) -> list[str]:
        chosen, place = self._options, self._options.url.removeprefix("http://")
        command = [str(gcs.find_server()), "-backend", "filesystem", "-filesystem-root", str(chosen.root)]
        command += ["-scheme", "https", "-host", ports.HOST, "-port", str(self._port)]
        command += ["-cert-location", str(chosen.certificates / "server.pem")]
        command += ["-private-key-location", str(chosen.certificates / "server.key")]
        return [*command, "-location", chosen.location, "-external-url", chosen.url, "-public-host", place]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local_gcp.gcs_server", description=__doc__)
    parser.add_argument("--host", default=ports.HOST, help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--root", type=Path, required=True, help="folder whose subfolders are the buckets")
    parser.add_argument("--certificates", type=Path, required=True, help="folder of the inner certificate")
    parser.add_argument("--location", required=True, help="location that buckets report")
    parser.add_argument("--url", required=True, help="the service's URL, for links in its answers")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="HOST:PORT", help="another address of it"
    )
    chosen = vars(parser.parse_args(arguments))
    allowed = tuple(chosen.pop("allow_host"))
    return GcsServer(Options(**chosen, allowed=allowed)).serve()


if __name__ == "__main__":
    sys.exit(main())
