"""Imports modules once, then forks a child for each `python -m` command that it is told to run.

Executed as a script of its own by an image's interpreter, so it imports the standard library and what it
is told to preload, nothing of this package. It speaks JSON lines over an inherited socket:

    asked     {"op": "run", "id", "module", "argv", "environment", "folder", "log"}
              {"op": "signal", "id", "signal"}
    answered  {"event": "ready"} or {"event": "broken", "error"}, once
              {"event": "started", "id", "pid"}
              {"event": "ended", "id", "code", "memory"} (negative code: signal; the parent's bytes)

A child has its own session, so that it can be signaled with all that it starts, and dies with the parent;
the parent ends when the socket is closed.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import importlib
import json
import logging
import os
import random
import runpy
import selectors
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_CHUNK = 1 << 16


def main() -> None:
    """Preload, then serve until the socket is closed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--preload", nargs="*", default=[])
    options = parser.parse_args()
    # The commands that run here must not import from this script's folder.
    del sys.path[0]
    channel = socket.socket(fileno=options.fd)
    os.set_inheritable(channel.fileno(), False)  # noqa: FBT003  # the standard library's signature
    parent = Parent(channel)
    if not parent.preload(options.preload):
        return
    parent.serve()


class Parent:
    """The loaded interpreter and its children."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, int] = {}
        self._libc = ctypes.CDLL(None, use_errno=True)

    def preload(self, modules: list[str]) -> bool:
        """Import `modules`; return whether that worked, and tell the server."""
        try:
            for module in modules:
                importlib.import_module(module)
        except BaseException as error:  # noqa: BLE001  # an import may end in anything
            traceback.print_exc()
            self._say(event="broken", error=repr(error))
            return False
        gc.collect()
        gc.freeze()
        self._say(event="ready")
        return True

    def serve(self) -> None:
        """Serve requests until the server closes the socket."""
        self._selector.register(self._channel, selectors.EVENT_READ)
        pending = b""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is not self._channel:
                    self._reap(key)
                    continue
                chunk = self._channel.recv(_CHUNK)
                if not chunk:
                    self._end_all()
                    return
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))

    def _obey(self, order: dict[str, Any]) -> None:
        if order["op"] == "run":
            self._fork(order)
        elif order["id"] in self._children:
            _signal_session(self._children[order["id"]], order["signal"])

    def _fork(self, order: dict[str, Any]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become(order, parent)
        self._children[order["id"]] = pid
        self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, order["id"])
        self._say(event="started", id=order["id"], pid=pid)

    def _become(self, order: dict[str, Any], parent: int) -> NoReturn:
        code = 1
        try:
            os.setsid()
            self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() == parent:
                self._selector.close()
                self._channel.close()
                _take_on(order)
                code = _run(order["module"])
        except BaseException:  # noqa: BLE001  # a child must never return into the parent's loop
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                logging.shutdown()
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _reap(self, key: selectors.SelectorKey) -> None:
        self._selector.unregister(key.fileobj)
        os.close(key.fd)
        pid = self._children.pop(key.data)
        _, status = os.waitpid(pid, 0)
        _signal_session(pid, signal.SIGKILL)
        self._say(event="ended", id=key.data, code=os.waitstatus_to_exitcode(status), memory=_memory())

    def _end_all(self) -> None:
        for pid in self._children.values():
            _signal_session(pid, signal.SIGKILL)

    def _say(self, **event: Any) -> None:  # noqa: ANN401  # JSON values
        with contextlib.suppress(OSError):
            self._channel.sendall(json.dumps(event).encode() + b"\n")


def _memory() -> int:
    """Return how many bytes of memory this process has in use."""
    with open("/proc/self/statm", "rb") as counts:  # noqa: PTH123  # as cheap as it gets
        return int(counts.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _signal_session(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _take_on(order: dict[str, Any]) -> None:
    """Turn this copy of the parent into a fresh interpreter for the command."""
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]  # it is a TextIOWrapper
    os.environ.clear()
    os.environ.update(order["environment"])
    # Programs start others of the same interpreter by this name, pip among them.
    sys.executable = os.path.join(order["environment"]["VIRTUAL_ENV"], "bin", "python")  # noqa: PTH118  # cheap
    os.chdir(order["folder"])
    search = [order["folder"], *order["environment"].get("PYTHONPATH", "").split(os.pathsep)]
    sys.path[:0] = [entry for entry in search if entry and entry not in sys.path]
    sys.argv = [order["module"], *order["argv"]]
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    # It was imported to be warm; runpy executes it again as __main__ and would warn.
    sys.modules.pop(order["module"], None)


def _run(module: str) -> int:
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ending:
        return _exit_code(ending.code)
    except BaseException:  # noqa: BLE001  # as the interpreter does at the end of a program
        traceback.print_exc()
        return 1
    return 0


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


if __name__ == "__main__":
    main()
