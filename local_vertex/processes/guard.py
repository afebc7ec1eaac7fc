"""Runs one command and ends it, with all its descendants, when the server that asked for it ends.

Executed as a script of its own: `python -I -S guard.py FOLDER COMMAND…`, standard library only. The server
holds the other end of standard input: the byte T tells the command to terminate, end-of-file (the server
closed it, or died, SIGKILL included) kills what is left. The guard is a subreaper, so that descendants
which changed their session or lost their parent are found as well. Then FOLDER is
removed, unless it is empty, and the guard exits as the command did.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import shutil
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_COMMAND_NOT_FOUND = 127


def main(argv: list[str], temporary: str) -> None:
    """Run `argv`, remove the folder `temporary` and exit with the command's status."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        _become(argv, libc)
    status = _watch(child)
    _kill_descendants()
    if temporary:
        shutil.rmtree(temporary, ignore_errors=True)
    _exit_as(status)


def _become(argv: list[str], libc: ctypes.CDLL) -> None:
    guard = os.getppid()
    os.setsid()
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != guard:
        os._exit(1)
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    try:
        os.execvp(argv[0], argv)  # noqa: S606  # the command is the engine's
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
        os._exit(_COMMAND_NOT_FOUND)


def _watch(child: int) -> int:
    """Wait for the child, pass on the server's orders, and return the child's wait status."""
    pidfd = os.pidfd_open(child)
    server = 0
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.register(server, select.POLLIN | select.POLLHUP)
    while True:
        ready = {fd for fd, _ in poller.poll()}
        if pidfd in ready:
            return os.waitpid(child, 0)[1]
        if os.read(server, 1) == b"T":
            _signal_group(child, signal.SIGTERM)
        else:
            _signal_group(child, signal.SIGKILL)
            poller.unregister(server)


def _signal_group(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, number)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def _kill_descendants() -> None:
    """Kill children until none is left: the children of a killed one become ours."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while True:
        for pid in children.read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _exit_as(status: int) -> None:
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(os.WTERMSIG(status), signal.SIG_DFL) if os.WTERMSIG(status) != signal.SIGKILL else None
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(sys.argv[2:], temporary=sys.argv[1])
