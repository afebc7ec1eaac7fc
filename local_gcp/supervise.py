"""Start, watch and stop the services of the local cloud, each a process in a session of its own."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from local_gcp import pids, ports
from local_gcp.errors import MissingToolError, ServiceFailedError
from local_gcp.state import ServiceRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_POLL_SECONDS: Final = 0.1
_HEALTH_SECONDS: Final = 2
_TAIL_LINES: Final = 15
_LOG_BYTES: Final = 20 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A program to keep running.

    ``environment`` is added to this process's own. ``ports`` must be free before it starts. ``reads`` are the
    files that it reads when it starts, if they exist. ``healthy`` is polled for at most ``start_seconds``.
    ``stop_signal`` tells it to stop within ``stop_seconds``; whatever is left then is killed.
    """

    name: str
    command: tuple[str, ...]
    directory: Path
    log: Path
    healthy: Callable[[], bool]
    ports: Mapping[str, int] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    reads: tuple[Path, ...] = ()
    start_seconds: float = 60
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10

    @property
    def fingerprint(self) -> str:
        """A digest that changes with the declaration, so that an outdated process is restarted."""
        read = [path.read_bytes() for path in self.reads if path.exists()]
        declared = (self.command, sorted(self.environment.items()), sorted(self.ports.items()), read)
        return hashlib.sha256(repr(declared).encode()).hexdigest()[:16]


def answers(url: str) -> Callable[[], bool]:
    """Return a health check that passes if a GET is answered with a status below 500."""

    def check() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=_HEALTH_SECONDS):  # noqa: S310  # the stack's own URL
                return True
        except urllib.error.HTTPError as error:
            return error.code < HTTPStatus.INTERNAL_SERVER_ERROR
        except OSError:
            return False

    return check


def is_current(service: Service, record: ServiceRecord | None) -> bool:
    """Return True if the record's process is alive and was started from this declaration."""
    return record is not None and record.fingerprint == service.fingerprint and pids.is_alive(record.leader)


def start(service: Service, mark: str) -> ServiceRecord:
    """Start a service without waiting until it is healthy.

    Raises:
        PortInUseError: another program uses one of its ports.
        MissingToolError: its program is not installed.
        ServiceFailedError: it ended at once.

    """
    ports.require_free(service.name, service.ports)
    service.log.parent.mkdir(parents=True, exist_ok=True)
    if service.log.exists() and service.log.stat().st_size > _LOG_BYTES:
        service.log.replace(service.log.with_suffix(".log.1"))
    own_mark = f"{mark}/{service.name}"
    with service.log.open("ab") as log:
        child = _spawn(service, own_mark, log.fileno())
    leader = pids.identify(child.pid)
    if leader is None:
        raise _stopped(service, child.wait())
    child.returncode = 0  # it outlives this process; silences Popen's warning about a running child
    return ServiceRecord(
        pid=leader.pid,
        start_time=leader.start_time,
        mark=own_mark,
        log=str(service.log),
        fingerprint=service.fingerprint,
        urls=dict(service.urls),
        stop_signal=service.stop_signal,
        stop_seconds=service.stop_seconds,
    )


def wait_healthy(service: Service, record: ServiceRecord) -> None:
    """Wait until a service is healthy.

    Raises:
        ServiceFailedError: it ended, or took too long.

    """
    deadline = time.monotonic() + service.start_seconds
    while not service.healthy():
        if not pids.is_alive(record.leader):
            raise _stopped(service, _exit_code(record.pid))
        if time.monotonic() > deadline:
            raise ServiceFailedError(
                f"{service.name} did not become healthy in {service.start_seconds:.0f} s; see {service.log}"
                f"{tail(service.log)}"
            )
        time.sleep(_POLL_SECONDS)


def stop(record: ServiceRecord) -> None:
    """Stop a service and every process that it left behind; return when all have ended."""
    pids.stop(record.family, record.signal, seconds=record.stop_seconds)


def end_strays(mark: str, name: str, log: Path) -> None:
    """End processes of a service without a record: its `up` was killed before writing one."""
    family = pids.Family(leader=None, mark=f"{mark}/{name}", log=log)
    pids.stop(family, signal.SIGTERM, seconds=0)


def tail(log: Path) -> str:
    """Return the last lines of a log, each indented on a line of its own."""
    if not log.exists():
        return ""
    last = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    return "".join(f"\n    {line}" for line in last)


def _spawn(service: Service, mark: str, log: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            service.command,
            cwd=service.directory,
            env={**os.environ, **service.environment, pids.MARK_VARIABLE: mark},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise MissingToolError(
            f"{service.name}: {error.filename} does not exist; run `make setup`"
        ) from error


def _stopped(service: Service, code: int | None) -> ServiceFailedError:
    ended = "stopped" if code is None else f"stopped with exit code {code}"
    return ServiceFailedError(f"{service.name} {ended} while starting; see {service.log}{tail(service.log)}")


def _exit_code(pid: int) -> int | None:
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, os.WNOHANG)[1])
    except ChildProcessError:
        return None
