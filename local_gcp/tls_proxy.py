"""A proxy on loopback that routes TLS connections for Google's servers to those of the local cloud.

Clients whose server cannot be configured, such as the Google provider's operators, are told to use a proxy
(`grpc_proxy`, `https_proxy`) and to trust its certificate. It answers CONNECT for Google's hosts, terminates
TLS and forwards the content in plain text to a port of this machine: gRPC to one, REST to that of the host's
service. Any other host is refused, so that nothing that such a client sends leaves the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import signal
import ssl
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from local_gcp.ports import HOST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOSTS: Final = ("*.googleapis.com",)
_GRPC: Final = "h2"
_REST: Final = "http/1.1"
_END_OF_HEAD: Final = b"\r\n\r\n"
_FOR_ONE_HOP: Final = re.compile(rb"(host|connection|keep-alive):", re.IGNORECASE)
_CHUNK: Final = 1 << 16
_HEAD_SECONDS: Final = 10


class TlsProxy:
    """Listens on `port` (0: any), with the certificate in `folder`, for gRPC to `target_port`.

    `rest` are the ports of the hosts, given as patterns, that speak REST.
    """

    def __init__(
        self, folder: Path, *, port: int, target_port: int, rest: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self._context.set_alpn_protocols([_GRPC, _REST])
        self._port = port
        self._target_port = target_port
        self._rest = rest
        self.port = 0

    async def serve(self, ready: asyncio.Event | None = None) -> None:
        """Answer until the task is cancelled; `port` is known when `ready` is set."""
        async with await asyncio.start_server(self._connect, HOST, self._port) as server:
            self.port = server.sockets[0].getsockname()[1]
            if ready is not None:
                ready.set()
            await server.serve_forever()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a client's CONNECT, terminate its TLS and forward the content."""
        try:
            host, status = _asked_for(await _head(reader))
            writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
            if host:
                await writer.start_tls(self._context)
                await self._pass_on(host, reader, writer)
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
            sys.stderr.write(f"a connection ended without a request: {error!r}\n")
        finally:
            await _finish(writer)

    async def _pass_on(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a client of `host`; HTTP/2 means gRPC, since no REST client here speaks it."""
        if writer.get_extra_info("ssl_object").selected_alpn_protocol() == _GRPC:
            await _join(reader, writer, self._target_port)
            return
        head = await _head(reader)
        ports = [port for pattern, port in self._rest.items() if fnmatchcase(host, pattern)]
        if ports:
            await _join(reader, writer, ports[0], _readdressed(head, ports[0]))
        else:
            writer.write(_not_here(host))


async def _head(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.readuntil(_END_OF_HEAD), _HEAD_SECONDS)


def _asked_for(head: bytes) -> tuple[str, str]:
    """Return the host of a CONNECT, empty if it is refused, and the status to answer."""
    verb, _, rest = head.decode("latin-1").partition(" ")
    host, _, port = rest.partition(" ")[0].rpartition(":")
    if verb != "CONNECT":
        return "", "405 This proxy answers CONNECT only"
    if port != "443" or not any(fnmatchcase(host, pattern) for pattern in HOSTS):
        return "", (
            "403 This proxy of the local Google Cloud serves googleapis.com:443 only; "
            "for other hosts unset https_proxy or add them to no_proxy"
        )
    return host, "200 Connection established"


def _readdressed(head: bytes, port: int) -> bytes:
    """Return a request's head with the server's address, telling it to close after one answer."""
    lines = [line for line in head.split(b"\r\n") if not _FOR_ONE_HOP.match(line)]
    lines[1:1] = [f"Host: {HOST}:{port}".encode(), b"Connection: close"]
    return b"\r\n".join(lines)


def _not_here(host: str) -> bytes:
    """Return the answer, in the format of Google's JSON APIs, for a service that the local cloud lacks."""
    message = f"{host} is not part of the local Google Cloud, which sends no requests to the real one"
    error = {"code": 501, "message": message, "status": "UNIMPLEMENTED"}
    body = json.dumps({"error": error}).encode()
    head = f"HTTP/1.1 501 Not Implemented\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}\r\nConnection: close\r\n\r\n".encode() + body


async def _join(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, head: bytes = b""
) -> None:
    """Copy bytes, `head` first, between a client and a port of this machine until both sides close."""
    try:
        there, back = await asyncio.open_connection(HOST, port)
    except OSError as error:
        sys.stderr.write(f"port {port} of this machine does not answer: {error}\n")
        return
    back.write(head)
    await asyncio.gather(_carry(reader, back), _carry(there, writer))


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    await _finish(writer)


async def _finish(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.close()
        await writer.wait_closed()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m local_gcp.tls_proxy", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder of server.pem and server.key")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--target-port", type=int, required=True, help="gRPC port of the local Vertex AI")
    parser.add_argument(
        "--rest",
        nargs=2,
        action="append",
        default=[],
        metavar=("HOSTS", "PORT"),
        help="port that answers REST for these hosts",
    )
    chosen = parser.parse_args(arguments)
    rest = {hosts: int(port) for hosts, port in chosen.rest}
    proxy = TlsProxy(chosen.folder, port=chosen.port, target_port=chosen.target_port, rest=rest)
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_until_signal(proxy))
    return 0


async def _until_signal(proxy: TlsProxy) -> None:
    serving = asyncio.ensure_future(proxy.serve())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    await serving


if __name__ == "__main__":
    sys.exit(main())
