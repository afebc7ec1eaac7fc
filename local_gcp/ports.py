"""Ports on loopback: choosing free ones, seeing taken ones."""

from __future__ import annotations

import random
import socket
from typing import TYPE_CHECKING, Final

from local_gcp.errors import PortInUseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HOST: Final = "127.0.0.1"

# Below Linux's ephemeral range, so that no outgoing connection takes a port while its service is down.
_RANGE: Final = range(18_000, 32_000)
_TRIES: Final = 200


def is_free(port: int) -> bool:
    """Return whether a server could listen on this port of loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def assign(names: Iterable[str], known: Mapping[str, int]) -> dict[str, int]:
    """Give every name a port: the known one, or one that is free now. Known ports of other names stay."""
    ports = dict(known)
    for name in names:
        if name not in ports:
            ports[name] = _choose(taken=frozenset(ports.values()))
    return ports


def require_free(service: str, wanted: Mapping[str, int]) -> None:
    """Raise PortInUseError when a port that a service is about to use is taken."""
    for name, port in wanted.items():
        if not is_free(port):
            raise PortInUseError(
                f"{service}: port {port} ({name}) is in use by another program; "
                "stop that program, or let `python -m local_gcp up --new-ports` choose another port"
            )


def _choose(taken: frozenset[int]) -> int:
    for _ in range(_TRIES):
        port = random.choice(_RANGE)  # noqa: S311  # spreads parallel stacks, guards nothing
        if port not in taken and is_free(port):
            return port
    raise PortInUseError(f"no free port between {_RANGE.start} and {_RANGE.stop}; stop some programs")
