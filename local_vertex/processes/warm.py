"""Runs `python -m` commands in forks of a parent that has already imported their modules."""

from __future__ import annotations

import json
import signal
import socket
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from local_vertex.processes import warm_parent
from local_vertex.run.containers import ContainerLostError, Launch

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_vertex.images import ImageRule, ImageTable
    from local_vertex.processes.environments import OwnEnvironment
    from local_vertex.processes.guarded import GuardedContainer, GuardedLauncher
    from local_vertex.run.containers import Container

_KILL_WAIT = 10.0
_MODULE_FLAG = "-m"


class WarmContainer:
    """A fork of a warm parent; `send` passes a signal to its session, `clean_up` is called at its end."""

    def __init__(self, send: Callable[[int], None], clean_up: Callable[[], None]) -> None:
        self._send = send
        self._clean_up = clean_up
        self._started = Event()
        self._ended = Event()
        self._code: int | None = None

    def wait_started(self, seconds: float) -> bool:
        """Wait for the fork; return whether it happened in time."""
        return self._started.wait(seconds)

    def wait(self) -> int:
        """Wait for the end and return the exit code, negative for a signal. Raises ContainerLostError."""
        self._ended.wait()
        # The parent died, and with it the only process that could tell the exit code.
        if self._code is None:
            raise ContainerLostError("the warm executor's parent is gone")
        return self._code

    def stop(self, grace: float) -> None:
        """Terminate, after `grace` seconds kill; returns when it has ended."""
        self._send(signal.SIGTERM)
        if not self._ended.wait(grace):
            self._send(signal.SIGKILL)
            self._ended.wait(_KILL_WAIT)

    def started(self) -> None:
        """Note that the fork exists."""
        self._started.set()

    def ended(self, code: int | None) -> None:
        """Note the exit code, or None if it was lost."""
        self._code = code
        self._clean_up()
        self._ended.set()
        self._started.set()


class WarmParent:
    """One interpreter with modules loaded, its socket and its forks."""

    def __init__(self, guarded: GuardedLauncher, launch: Launch, preload: tuple[str, ...]) -> None:
        ours, theirs = socket.socketpair()
        argv = (
            *launch.argv,
            str(Path(warm_parent.__file__)),
            "--fd",
            str(theirs.fileno()),
            "--preload",
            *preload,
        )
        with theirs:
            full = Launch(
                argv=argv,
                rule=launch.rule,
                environment=launch.environment,
                log_path=launch.log_path,
                folder=launch.folder,
            )
            self._process: GuardedContainer = guarded.start(full, pass_fds=(theirs.fileno(),))
        self._channel = ours
        self._answered = Event()
        self._ready = False
        self._broken = False
        self._dead = False
        self._ids = count(1)
        self._forks = 0
        self._memory = 0
        self._retired = False
        self._containers: dict[int, WarmContainer] = {}
        self._lock = Lock()
        Thread(target=self._listen, name="warm parent", daemon=True).start()

    @property
    def dead(self) -> bool:
        """True when it can no longer fork."""
        return self._dead

    @property
    def broken(self) -> bool:
        """True when its image lacks a module to preload, so that another parent would fail as well."""
        return self._broken

    @property
    def ready(self) -> bool:
        """True when everything is imported."""
        return self._ready and not self._dead

    def is_worn(self, forks: int, memory: int) -> bool:
        """Return whether it has forked `forks` times or uses more than `memory` bytes."""
        return self._forks >= forks or self._memory > memory

    def retire(self) -> None:
        """Fork no more, and end with the last fork."""
        with self._lock:
            self._retired = True
            idle = not self._containers
        if idle:
            self.close()

    def wait_ready(self, seconds: float) -> bool:
        """Wait until everything is imported; return whether that worked."""
        return self._answered.wait(seconds) and self._ready and not self._dead

    def run(self, module: str, argv: tuple[str, ...], launch: Launch, own: OwnEnvironment) -> WarmContainer:
        """Fork a child for `python -m module argv`; raises ContainerLostError when it cannot.

        The child's own processes use the environment `own`, which is removed when it has ended.
        """
        with self._lock:
            number = next(self._ids)
            container = WarmContainer(
                lambda sent: self._order(op="signal", id=number, signal=int(sent)), clean_up=own.remove
            )
            if self._dead or self._retired:
                raise ContainerLostError("the warm executor's parent is gone")
            self._containers[number] = container
            self._forks += 1
        self._order(
            op="run",
            id=number,
            module=module,
            argv=list(argv),
            environment=own.variables(launch),
            folder=str(launch.folder),
            log=str(launch.log_path),
        )
        return container

    def close(self) -> None:
        """End the parent and its forks."""
        self._process.stop(grace=0.0)

    def _order(self, **order: Any) -> None:  # noqa: ANN401  # JSON values
        with self._lock:
            try:
                self._channel.sendall(json.dumps(order).encode() + b"\n")
            except OSError:
                self._dead = True

    def _listen(self) -> None:
        try:
            with self._channel.makefile("rb") as lines:
                for line in lines:
                    self._hear(json.loads(line))
        except OSError:
            pass
        finally:
            self._lose_all()

    def _hear(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "ready":
                self._ready = True
                self._answered.set()
            case "broken":
                self._broken = True
                self._answered.set()
            case "started":
                self._containers[event["id"]].started()
            case "ended":
                self._memory = event["memory"]
                self._end(event["id"], event["code"])

    def _end(self, number: int, code: int) -> None:
        with self._lock:
            container = self._containers.pop(number)
            last = self._retired and not self._containers
        container.ended(code)
        if last:
            self.close()

    def _lose_all(self) -> None:
        with self._lock:
            self._dead = True
            lost, self._containers = list(self._containers.values()), {}
        self._answered.set()
        self._channel.close()
        self._process.stop(grace=0.0)
        for container in lost:
            container.ended(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmSettings:
    """`preload` are the modules to import; an image without them runs cold. Times in seconds.

    A parent that has forked `max_forks` times, or uses more than `max_memory` bytes, is replaced as soon as
    its successor has imported everything; one that died is replaced at most `max_starts` times.
    """

    preload: tuple[str, ...]
    log_dir: Path
    ready_within: float = 180.0
    fork_within: float = 30.0
    max_starts: int = 5
    max_forks: int = 500
    max_memory: int = 3_000_000_000


class WarmLauncher:
    """Forks commands from a warm parent, one for each image rule, and leaves the rest to `reference`."""

    def __init__(self, *, settings: WarmSettings, images: ImageTable, reference: GuardedLauncher) -> None:
        self._settings = settings
        self._images = images
        self._reference = reference
        self._parents: dict[str, WarmParent] = {}
        self._successors: dict[str, WarmParent] = {}
        self._starts: dict[str, int] = {}
        self._lock = Lock()
        self._closed = False

    def prestart(self) -> None:
        """Start importing for every image, in the background."""
        for rule in self._images.rules:
            self._parent(rule)

    def launch(self, launch: Launch) -> Container:
        """Start a command and return at once; the first one of an image waits for the imports."""
        interpreter, *rest = launch.argv
        runs_module = rest[:1] == [_MODULE_FLAG] and len(rest) > 1
        if interpreter != str(launch.rule.interpreter) or not runs_module:
            return self._reference.launch(launch)
        parent = self._parent(launch.rule)
        if parent is None or not parent.wait_ready(self._settings.ready_within):
            return self._reference.launch(launch)
        return self._fork(parent, launch) or self._reference.launch(launch)

    def _fork(self, parent: WarmParent, launch: Launch) -> WarmContainer | None:
        own = self._reference.environments.create(launch)
        _, _, module, *argv = launch.argv
        try:
            container = parent.run(module, tuple(argv), launch, own)
        except ContainerLostError:
            own.remove()
            return None
        if not container.wait_started(self._settings.fork_within):
            # It hangs, so that this fork may still happen: only its end makes sure that nothing runs twice.
            parent.close()
            return None
        return container

    def _parent(self, rule: ImageRule) -> WarmParent | None:
        """Return the parent of an image, a new one when it died; None when it died too often."""
        with self._lock:
            parent = self._parents.get(rule.image)
            if parent is not None and (parent.broken or not parent.dead):
                return self._renewed(rule, parent)
            starts = self._starts.get(rule.image, 0)
            # Imports that crash would do so each time, and cost a minute each.
            if self._closed or starts >= self._settings.max_starts:
                return None
            self._starts[rule.image] = starts + 1
            self._parents[rule.image] = self._start(rule)
            return self._parents[rule.image]

    def _renewed(self, rule: ImageRule, parent: WarmParent) -> WarmParent:
        """Return the parent, or the successor of a worn one once that is ready."""
        if self._closed or not parent.is_worn(self._settings.max_forks, self._settings.max_memory):
            return parent
        successor = self._successors.get(rule.image)
        if successor is None or successor.dead:
            self._successors[rule.image] = self._start(rule)
        elif successor.ready:
            del self._successors[rule.image]
            self._parents[rule.image] = successor
            parent.retire()
            return successor
        return parent

    def _start(self, rule: ImageRule) -> WarmParent:
        folder = self._settings.log_dir
        launch = Launch(
            argv=(str(rule.interpreter),),
            rule=rule,
            environment={**self._images.environment, **rule.environment},
            log_path=folder / "warm.log",
            folder=folder,
        )
        return WarmParent(self._reference, launch, self._settings.preload)

    def close(self) -> None:
        """End all parents, their forks and all that runs cold."""
        with self._lock:
            self._closed = True
            parents = [*self._parents.values(), *self._successors.values()]
            self._parents, self._successors = {}, {}
        for parent in parents:
            parent.close()
        self._reference.close()
