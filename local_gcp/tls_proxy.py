"""A proxy on loopback that leads TLS connections for Google's gRPC servers to the local Vertex AI.

Clients that have no setting for their server, such as the Google provider's operators, are told to use a
proxy (`grpc_proxy`) and to trust its certificate. It answers CONNECT for the hosts that it stands for, ends
TLS and passes what is inside on, in plain text, to one port of this machine. Any other host is refused.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import ssl
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local_gcp.ports import HOST

if TYPE_CHECKING:
    from collections.abc import Sequence

HOSTS: Final = ("*.googleapis.com",)
_CHUNK: Final = 1 << 16
_HEAD_SECONDS: Final = 10


class TlsProxy:
    """Listens on `port` (0: any), with the certificate in `folder`, for connections to `target_port`."""

    def __init__(self, folder: Path, *, port: int, target_port: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self._context.set_alpn_protocols(["h2"])
        self._port = port
        self._target_port = target_port
        self._inner_port = 0
        self.port = 0

    async def serve(self, ready: asyncio.Event | None = None) -> None:
        """Answer until the task is cancelled; `port` is known when `ready` is set."""
        async with (
            await asyncio.start_server(self._decrypted, HOST, 0, ssl=self._context) as inner,
            await asyncio.start_server(self._connect, HOST, self._port) as outer,
        ):
            self._inner_port = inner.sockets[0].getsockname()[1]
            self.port = outer.sockets[0].getsockname()[1]
            if ready is not None:
                ready.set()
            await outer.serve_forever()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the CONNECT of one client, then pass its TLS on to where that is ended."""
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_SECONDS)
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
            sys.stderr.write(f"a connection without a request: {error!r}\n")
            writer.close()
            return
        status = _status(head)
        writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
        if status.startswith("200"):
            await _join(reader, writer, self._inner_port)
        else:
            await _finish(writer)

    async def _decrypted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _join(reader, writer, self._target_port)


def _status(head: bytes) -> str:
    verb, _, rest = head.decode("latin-1").partition(" ")
    host, _, port = rest.partition(" ")[0].rpartition(":")
    if verb != "CONNECT":
        return "405 Only CONNECT is answered here"
    if port != "443" or not any(fnmatchcase(host, pattern) for pattern in HOSTS):
        return "403 Only googleapis.com:443 is on this machine"
    return "200 Connection established"


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Carry bytes both ways between a client and a port of this machine until both have ended."""
    try:
        there, back = await asyncio.open_connection(HOST, port)
    except OSError as error:
        sys.stderr.write(f"port {port} of this machine does not answer: {error}\n")
        await _finish(writer)
        return
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
    parser.add_argument("--folder", type=Path, required=True, help="where server.pem and server.key are")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--target-port", type=int, required=True, help="gRPC port of the local Vertex AI")
    chosen = parser.parse_args(arguments)
    proxy = TlsProxy(chosen.folder, port=chosen.port, target_port=chosen.target_port)
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
