"""Runs each container as a child process under a guard; the reference for all other launchers."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from local_vertex.processes import guard
from local_vertex.processes.environments import Environments

if TYPE_CHECKING:
    from local_vertex.run.containers import Launch

_KILL_WAIT = 10.0


def guarded(argv: tuple[str, ...], temporary: Path | None = None) -> list[str]:
    """Return the command line that runs `argv` under a guard, which then removes the folder `temporary`."""
    folder = str(temporary) if temporary else ""
    return [sys.executable, "-I", "-S", str(Path(guard.__file__)), folder, *argv]


class GuardedContainer:
    """A command under its guard."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self._lock = Lock()

    @property
    def pid(self) -> int:
        """The guard's process id."""
        return self._child.pid

    def wait(self) -> int:
        """Wait for the end and return the exit code, negative for a signal."""
        code = self._child.wait()
        self._release()
        return code

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._child.poll()

    def stop(self, grace: float) -> None:
        """Terminate, after `grace` seconds kill; returns when nothing of it is left."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            if self._child.stdin:
                self._child.stdin.write(b"T")
                self._child.stdin.flush()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(grace)
        # End-of-file makes the guard kill all that is left. Only a guard that hangs is killed itself, because
        # descendants of a killed guard may outlive it.
        self._release()
        try:
            self._child.wait(_KILL_WAIT)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _release(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._child.stdin:
                self._child.stdin.close()


class GuardedLauncher:
    """Starts one process for each container, in a Python environment of its own."""

    def __init__(self) -> None:
        self.environments = Environments()
        self._running: set[GuardedContainer] = set()
        self._lock = Lock()

    def launch(self, launch: Launch) -> GuardedContainer:
        """Start a command and return at once."""
        environment = self.environments.create(launch)
        try:
            return self.start(environment.entered(launch), temporary=environment.folder)
        except OSError:
            environment.remove()
            raise

    def start(
        self, launch: Launch, *, pass_fds: tuple[int, ...] = (), temporary: Path | None = None
    ) -> GuardedContainer:
        """Start a command that inherits `pass_fds` unchanged, and return at once.

        The folder `temporary` is removed when it has ended.
        """
        launch.folder.mkdir(parents=True, exist_ok=True)
        with launch.log_path.open("ab") as log:
            child = subprocess.Popen(
                guarded(launch.argv, temporary),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(launch.environment),
                cwd=launch.folder,
                # A Ctrl-C in the server's terminal is for the server, which ends its children in order.
                start_new_session=True,
                pass_fds=pass_fds,
            )
        container = GuardedContainer(child)
        with self._lock:
            # Forgetting those that have ended here keeps the set from growing without a thread that watches.
            self._running = {running for running in self._running if running.poll() is None} | {container}
        return container

    def close(self) -> None:
        """End all that runs, at once."""
        with self._lock:
            running, self._running = self._running, set()
        for container in running:
            container.stop(grace=0.0)
