"""The processes that belong to a service, safe against recycled pids.

A service's leader is known by pid and start time. The others are its descendants, members of its session that
write to its log, and every process that inherited its mark in the environment, even if it has detached.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MARK_VARIABLE: Final = "LOCAL_GCP_SERVICE"

_PROC: Final = Path("/proc")
_ZOMBIES: Final = frozenset({"Z", "X"})
_GRACE_SECONDS: Final = 2.0
# Field 22 of proc(5), counted from the third on.
_START_TIME: Final = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessId:
    """A process, unique even after its pid is reused: ``start_time`` is field 22 of /proc/PID/stat."""

    pid: int
    start_time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The traits of a service's processes; without a leader only their mark counts."""

    leader: ProcessId | None
    mark: str
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stat:
    id: ProcessId
    parent: int
    session: int


def identify(pid: int) -> ProcessId | None:
    """Return the process that has this pid now, or None if it is gone or a zombie."""
    stat = _stat(pid)
    return stat.id if stat else None


def is_alive(process: ProcessId) -> bool:
    """Return True if this very process is still running."""
    return identify(process.pid) == process


def parent_of(process: ProcessId) -> int | None:
    """Return the pid of a process's parent, or None if this very process is gone."""
    stat = _stat(process.pid)
    return stat.parent if stat and stat.id == process else None


def members(family: Family) -> set[ProcessId]:
    """Return the living processes of a service, including its leader."""
    stats = (_stat(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdigit())
    table = {stat.id.pid: stat for stat in stats if stat}
    found = {pid for pid, stat in table.items() if _belongs(stat, family)}
    while grown := {pid for pid, stat in table.items() if stat.parent in found} - found:
        found |= grown
    return {table[pid].id for pid in found}


def send(process: ProcessId, number: signal.Signals) -> None:
    """Signal this very process; do nothing if it is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if is_alive(process):
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def wait(processes: Iterable[ProcessId], *, seconds: float) -> set[ProcessId]:
    """Wait until all have ended; return those still alive after ``seconds``."""
    deadline = time.monotonic() + seconds
    return {process for process in processes if not _ended(process, deadline - time.monotonic())}


def stop(family: Family, number: signal.Signals, *, seconds: float) -> None:
    """Signal the leader to stop with ``number``, wait, then kill whatever is left of the service."""
    known = members(family)
    if family.leader:
        send(family.leader, number)
        send(family.leader, signal.SIGCONT)  # a suspended process receives it only after this
        wait([family.leader], seconds=seconds)
    for last in (signal.SIGTERM, signal.SIGKILL):
        known = {process for process in known | members(family) if is_alive(process)}
        for process in known:
            send(process, last)
        wait(known, seconds=_GRACE_SECONDS)
    if family.leader:
        # The service may be a child of this process: collect its exit status, so that no zombie stays.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(family.leader.pid, os.WNOHANG)


def _fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on; an empty list if the process is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text[text.rindex(")") + 2 :].split()  # the name before it may hold spaces and brackets


def _stat(pid: int) -> _Stat | None:
    fields = _fields(pid)
    if not fields or fields[0] in _ZOMBIES:
        return None
    return _Stat(
        id=ProcessId(pid=pid, start_time=int(fields[_START_TIME])),
        parent=int(fields[1]),
        session=int(fields[3]),
    )


def _belongs(stat: _Stat, family: Family) -> bool:
    if stat.id == family.leader:
        return True
    if _has_mark(stat.id.pid, family.mark):
        return True
    in_session = family.leader is not None and stat.session == family.leader.pid
    return in_session and _writes_to(stat.id.pid, family.log)


def _has_mark(pid: int, mark: str) -> bool:
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:  # another user's, or gone
        return False
    return f"{MARK_VARIABLE}={mark}".encode() in environment.split(b"\0")


def _writes_to(pid: int, log: Path) -> bool:
    """Return True if a process logs there: some overwrite their environment, and the mark, to set a title."""
    for descriptor in ("1", "2"):
        try:
            if (_PROC / str(pid) / "fd" / descriptor).readlink() == log:
                return True
        except OSError:
            continue
    return False


def _ended(process: ProcessId, seconds: float) -> bool:
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        # A zombie with threads that are still exiting keeps its ports: only the descriptor signals the end.
        fields = _fields(process.pid)
        if not fields or int(fields[_START_TIME]) != process.start_time:
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(max(seconds, 0) * 1000))
    finally:
        os.close(descriptor)
