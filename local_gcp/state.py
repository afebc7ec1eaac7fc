"""The state file of a local cloud: its ports, its mark and the services that were started."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from local_gcp.errors import StateError
from local_gcp.pids import Family, ProcessId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_VERSION: Final = 1
_NEEDED_MEGABYTES: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRecord:
    """A service that was started; it may have ended since."""

    pid: int
    start_time: int
    mark: str
    log: str
    fingerprint: str
    urls: Mapping[str, str]
    stop_signal: int
    stop_seconds: float

    @property
    def leader(self) -> ProcessId:
        """The process that was started."""
        return ProcessId(pid=self.pid, start_time=self.start_time)

    @property
    def family(self) -> Family:
        """The identity by which all its processes are found."""
        return Family(leader=self.leader, mark=self.mark, log=Path(self.log))

    @property
    def signal(self) -> signal.Signals:
        """The signal that tells it to stop."""
        return signal.Signals(self.stop_signal)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackState:
    """The content of a state file; ``mark`` is unique to a stack."""

    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    ports: Mapping[str, int] = field(default_factory=dict)
    services: Mapping[str, ServiceRecord] = field(default_factory=dict)

    def with_ports(self, ports: Mapping[str, int]) -> StackState:
        """Return the same state with these ports."""
        return replace(self, ports=dict(ports))

    def with_service(self, name: str, record: ServiceRecord) -> StackState:
        """Return the same state with this service started."""
        return replace(self, services={**self.services, name: record})

    def without_service(self, name: str) -> StackState:
        """Return the same state with this service stopped."""
        return replace(self, services={key: value for key, value in self.services.items() if key != name})


def read(file: Path) -> StackState:
    """Read a state file; a missing file gives a new state.

    Raises:
        StateError: the file is not a state file of this version.

    """
    try:
        content: dict[str, Any] = json.loads(file.read_text())
        if content["version"] != _VERSION:
            raise StateError(f"{file} has version {content['version']}, not {_VERSION}; {_remedy(file)}")
        services = {name: _record(record) for name, record in content["services"].items()}
        ports = {name: _positive(port) for name, port in content["ports"].items()}
        return StackState(mark=str(content["mark"]), ports=ports, services=services)
    except FileNotFoundError:
        return StackState()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StateError(f"{file} is not a state file ({error!r}); {_remedy(file)}") from error


def _record(content: Mapping[str, Any]) -> ServiceRecord:
    record = ServiceRecord(**content)
    signal.Signals(record.stop_signal)
    return replace(
        record,
        pid=_positive(record.pid),
        start_time=_positive(record.start_time),
        stop_seconds=float(record.stop_seconds),
        urls=dict(record.urls),
    )


def _positive(number: object) -> int:
    if not isinstance(number, int) or number <= 0:
        raise TypeError(f"{number!r} is not a positive integer")
    return number


def _remedy(file: Path) -> str:
    return (
        f"end the processes that still run there (`pgrep -af '{file.parent}|airflow'` lists them), then move "
        "the file away: the services' data is kept"
    )


def write(file: Path, state: StackState) -> None:
    """Replace a state file atomically: a reader sees the old content or the new."""
    content = {
        "version": _VERSION,
        "mark": state.mark,
        "ports": state.ports,
        "services": {name: asdict(record) for name, record in state.services.items()},
    }
    fresh = file.with_name(f".{file.name}.new")
    with fresh.open("w") as stream:
        json.dump(content, stream, indent=2)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(file)


@contextlib.contextmanager
def locked(file: Path, *, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock across processes; ``waiting`` is called if another process has it."""
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(stream, fcntl.LOCK_EX)
            if _is_open_at(stream, file):
                yield
                return


def _is_open_at(stream: TextIO, file: Path) -> bool:
    """Return True if the path still names the locked file: a reset removes it while others wait."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), file.stat())
    except FileNotFoundError:
        return False


def require_space(folder: Path, megabytes: int = _NEEDED_MEGABYTES) -> None:
    """Raise StateError if the disk of a folder has less free space than this."""
    free = shutil.disk_usage(folder).free >> 20
    if free < megabytes:
        raise StateError(
            f"the disk of {folder} is full: {free} MB free, {megabytes} MB needed; "
            "free some space or set LOCAL_GCP_STATE_DIR to a folder on another disk"
        )
