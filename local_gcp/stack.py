"""The local cloud as a whole: up, down, status, reset and the environment of its clients."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from local_gcp import pids, ports, services, state, supervise, tls
from local_gcp.errors import LocalCloudError, ServiceFailedError
from local_gcp.services import CLOUD, Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from local_gcp.layout import Layout
    from local_gcp.services import Declaration
    from local_gcp.state import ServiceRecord, StackState
    from local_gcp.supervise import Service


class Condition(StrEnum):
    """The condition of a service."""

    RUNNING = "running"
    UNHEALTHY = "unhealthy"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """A service as `status` shows it; ``pid`` is None unless it runs."""

    name: str
    condition: Condition
    pid: int | None
    urls: tuple[str, ...]
    log: str


def to_stderr(line: str) -> None:
    """Write a line of progress."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class Stack:
    """One local cloud in one state folder.

    ``declarations`` are its services in start order. Only one process at a time starts or stops services.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        declarations: Collection[Declaration] = CLOUD,
        progress: Callable[[str], None] = to_stderr,
    ) -> None:
        self._layout = layout
        self._declarations = tuple(declarations)
        self._progress = progress

    def up(self, only: Collection[str] = (), *, new_ports: bool = False) -> None:
        """Start stopped services, restart those that died, hang or changed, and wait until all are healthy.

        ``only`` names services; empty means all. ``new_ports`` gives another port to a stopped service
        whose port is taken.

        Raises:
            LocalCloudError: a service cannot start, or did not become healthy in time.

        """
        chosen = self._choose(only)
        self._layout.state.mkdir(parents=True, exist_ok=True)
        state.require_space(self._layout.state)
        with self._locked():
            self._assign_ports(new_ports=new_ports)
            for declaration in chosen:
                if declaration.prepare:
                    declaration.prepare(self._setting(), self._progress)
            built = [(declaration, declaration.build(self._setting())) for declaration in chosen]
            fresh = {service.name for _, service in built if self._start(service)}
            for declaration, service in built:
                self._await(service, started=service.name in fresh)
                if declaration.fill:
                    declaration.fill(self._setting(), self._progress)

    def down(self, only: Collection[str] = ()) -> None:
        """Stop services in reverse start order, with every process they left behind; their data is kept."""
        if not self._layout.state.is_dir():
            return
        with self._locked():
            self._stop_all(only)

    def reset(self) -> None:
        """Stop all services and delete everything the stack stores, including its choice of ports."""
        if not self._layout.state.is_dir():
            return
        with self._locked():
            self._stop_all(())
            for path in (
                self._layout.gcs_root,
                self._layout.gcs_certificates,
                self._layout.bigquery,
                self._layout.vertex,
                self._layout.airflow,
                self._layout.tls,
                self._layout.logs,
            ):
                shutil.rmtree(path, ignore_errors=True)
            for file in (self._layout.images, self._layout.stack_file, self._layout.lock_file):
                file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._layout.state.rmdir()  # stays when it holds anything else

    def status(self) -> tuple[ServiceStatus, ...]:
        """Return the status of every declared service."""
        current = self._read()
        return tuple(
            self._status(declaration.name, current.services.get(declaration.name))
            for declaration in self._declarations
        )

    def client_environment(self) -> dict[str, str]:
        """Return the variables for clients of this stack; LocalCloudError before the first `up`."""
        current = self._read()
        if not current.ports:
            raise LocalCloudError(
                f"{self._layout.state} has no local cloud yet; run `python -m local_gcp up`"
            )
        setting = Setting(layout=self._layout, ports=current.ports)
        return {**services.client_environment(setting), **tls.environment(setting)}

    def _choose(self, only: Collection[str]) -> tuple[Declaration, ...]:
        names = [declaration.name for declaration in self._declarations]
        if unknown := sorted(set(only) - set(names)):
            raise LocalCloudError(f"unknown service {', '.join(unknown)}; choose from {', '.join(names)}")
        return tuple(item for item in self._declarations if not only or item.name in only)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        def waiting() -> None:
            self._progress("waiting for another `local_gcp` command on this stack")

        with state.locked(self._layout.lock_file, waiting=waiting):
            yield

    def _read(self) -> StackState:
        return state.read(self._layout.stack_file)

    def _write(self, current: StackState) -> None:
        state.write(self._layout.stack_file, current)

    def _setting(self) -> Setting:
        return Setting(
            layout=self._layout, ports=self._read().ports, told=services.told_addresses(os.environ)
        )

    def _assign_ports(self, *, new_ports: bool) -> None:
        current = self._read()
        known = current.ports
        if new_ports:
            known = {
                name: port
                for name, port in known.items()
                if self._serves(current, name) or ports.is_free(port)
            }
        names = [name for declaration in (*CLOUD, *self._declarations) for name in declaration.ports]
        self._write(current.with_ports(ports.assign(names, known)))

    def _serves(self, current: StackState, port_name: str) -> bool:
        owner = next((item.name for item in self._declarations if port_name in item.ports), None)
        record = current.services.get(owner or "")
        return record is not None and pids.is_alive(record.leader)

    def _start(self, service: Service) -> bool:
        """Make sure that a process of this declaration runs; return True if it is a new one."""
        current = self._read()
        record = current.services.get(service.name)
        if supervise.is_current(service, record):
            return False
        if record:
            supervise.stop(record)
        else:
            supervise.end_strays(current.mark, service.name, service.log)
        self._progress(f"{service.name}: starting")
        self._write(current.with_service(service.name, supervise.start(service, current.mark)))
        return True

    def _await(self, service: Service, *, started: bool) -> None:
        begin = time.monotonic()
        try:
            supervise.wait_healthy(service, self._read().services[service.name])
        except ServiceFailedError:
            self._stop(service.name)
            if started:
                raise
            self._progress(f"{service.name}: running but not answering, restarting")
            self._start(service)
            self._await(service, started=True)
            return
        verb = f"healthy after {time.monotonic() - begin:.1f} s" if started else "running"
        self._progress(f"{service.name}: {' '.join((verb, *service.urls.values()))}")

    def _stop_all(self, only: Collection[str]) -> None:
        for name in reversed(list(self._read().services)):
            if not only or name in only:
                self._stop(name)
                self._progress(f"{name}: stopped")

    def _stop(self, name: str) -> None:
        current = self._read()
        supervise.stop(current.services[name])
        self._write(current.without_service(name))

    def _status(self, name: str, record: ServiceRecord | None) -> ServiceStatus:
        log = str(self._layout.logs / f"{name}.log")
        if record is None or not pids.is_alive(record.leader):
            return ServiceStatus(name=name, condition=Condition.STOPPED, pid=None, urls=(), log=log)
        healthy = all(supervise.answers(url)() for kind, url in record.urls.items() if kind == "rest")
        condition = Condition.RUNNING if healthy else Condition.UNHEALTHY
        return ServiceStatus(
            name=name, condition=condition, pid=record.pid, urls=tuple(record.urls.values()), log=record.log
        )
