"""The processes that can be killed, by their role in Airflow and the local Vertex AI."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local_gcp import pids, state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local_gcp.layout import Layout
    from local_gcp.pids import ProcessId
    from local_gcp.state import ServiceRecord

_PROC: Final = Path("/proc")
_WORKER: Final = "airflow worker -- "
_IDLE: Final = "LocalExecutor"
_GUARD: Final = "guard.py"
_WARM: Final = "warm_parent.py"
# Vertex AI's container contract gives it to model servers only.
_SERVES: Final = b"AIP_HTTP_PORT="


@unique
class Target(StrEnum):
    """The roles that a process can have."""

    TASK_RUNNER = "task runner"
    TRIGGERER = "triggerer"
    SCHEDULER = "scheduler"
    API_SERVER = "api-server"
    VERTEX = "vertex"
    EXECUTOR = "executor"
    WARM_PARENT = "warm parent"
    MODEL_SERVER = "model server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """A living process; `work` is the id of the task instance that a task runner works on."""

    target: Target
    process: ProcessId
    work: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    id: ProcessId
    parent: int
    command: str


def victims(layout: Layout) -> list[Victim]:
    """Return all processes that can be killed now, in the order of their pids."""
    services = state.read(layout.stack_file).services
    found: list[Victim] = []
    for name, classify in _CLASSIFIERS.items():
        record = services.get(name)
        if record is not None and pids.is_alive(record.leader):
            found += _classified(record, classify)
    return sorted(found, key=lambda victim: victim.process.pid)


def left_over(mark: str) -> list[str]:
    """Return pid and command of every living process of a stack, by the mark that they inherited."""
    wanted = f"{pids.MARK_VARIABLE}={mark}/".encode()
    return [
        f"{folder.name} {_command(int(folder.name))[:80]}"
        for folder in _PROC.iterdir()
        if folder.name.isdigit()
        and pids.identify(int(folder.name))
        and any(each.startswith(wanted) for each in _read(folder / "environ").split(b"\0"))
    ]


def _classified(
    record: ServiceRecord, classify: Callable[[_Process, _Process], Victim | None]
) -> list[Victim]:
    """Return the victims among the living processes of a service."""
    found = {
        process.pid: _Process(id=process, parent=parent, command=_command(process.pid))
        for process in pids.members(record.family)
        if (parent := pids.parent_of(process)) is not None
    }
    nobody = _Process(id=record.leader, parent=0, command="")
    judged = [classify(each, found.get(each.parent, nobody)) for each in found.values()]
    return [victim for victim in judged if victim is not None]


def _command(pid: int) -> str:
    return _read(_PROC / str(pid) / "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # another user's, or gone
        return b""


def _scheduler(process: _Process, parent: _Process) -> Victim | None:
    """Classify the scheduler itself and task runners, children of a worker; workers are spared.

    Airflow notices the loss of a worker only after the heartbeat's time-out, which is minutes.
    """
    if not process.command.startswith(_WORKER):
        return Victim(target=Target.SCHEDULER, process=process.id) if process.command else None
    work = process.command.removeprefix(_WORKER)
    if work.startswith(_IDLE) or not parent.command.startswith(_WORKER):
        return None
    return Victim(target=Target.TASK_RUNNER, process=process.id, work=work)


def _vertex(process: _Process, parent: _Process) -> Victim | None:
    """Classify the server, warm parents, the executors they fork, cold executors and model servers."""
    if _GUARD in process.command or not process.command:
        return None
    if _GUARD not in parent.command and _WARM not in process.command:
        return Victim(target=Target.VERTEX, process=process.id) if not parent.command else None
    if _WARM in process.command:
        forked = _GUARD not in parent.command
        return Victim(target=Target.EXECUTOR if forked else Target.WARM_PARENT, process=process.id)
    serves = _SERVES in _read(_PROC / str(process.id.pid) / "environ")
    return Victim(target=Target.MODEL_SERVER if serves else Target.EXECUTOR, process=process.id)


_CLASSIFIERS: Final[Mapping[str, Callable[[_Process, _Process], Victim | None]]] = {
    "airflow-triggerer": lambda process, _: Victim(target=Target.TRIGGERER, process=process.id),
    "airflow-scheduler": _scheduler,
    "airflow-api": lambda process, _: Victim(target=Target.API_SERVER, process=process.id),
    "vertex": _vertex,
}
