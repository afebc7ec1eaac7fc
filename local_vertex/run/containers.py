"""The port through which the engine runs containers, and ends them from another thread."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from threading import TIMEOUT_MAX, Event, Lock, Thread, Timer
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from local_vertex.images import ImageRule, ImageTable


class ContainerLostError(Exception):
    """The container was lost by this machine, not ended by its command; it may be run again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A command to run: `rule` of its image, output appended to `log_path`, started in `folder`.

    `environment` is complete: nothing is inherited from the server.
    """

    argv: tuple[str, ...]
    rule: ImageRule
    environment: Mapping[str, str]
    log_path: Path
    folder: Path

    @classmethod
    def of(
        cls, images: ImageTable, image: str, argv: tuple[str, ...], env: Mapping[str, str], log_path: Path
    ) -> Launch:
        """Return the launch of `argv` in `image`, in the folder of its log; raises InvalidArgument."""
        rule = images.rule(image)
        environment = {**images.environment, **rule.environment, **env}
        return cls(
            argv=rule.command(argv),
            rule=rule,
            environment=environment,
            log_path=log_path,
            folder=log_path.parent,
        )


class Container(Protocol):
    """A running command."""

    def wait(self) -> int:
        """Wait for the end and return the exit code, negative for a signal. Raises ContainerLostError."""

    def stop(self, grace: float) -> None:
        """Signal it to terminate, kill all of it after `grace` seconds, and return once it has ended."""


class Launcher(Protocol):
    """Starts commands, none of which outlives the server."""

    def launch(self, launch: Launch) -> Container:
        """Start a command and return at once."""

    def close(self) -> None:
        """End all that runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Containers:
    """Everything that runs containers: `launcher` may be faster than `reference`, which always works."""

    images: ImageTable
    launcher: Launcher
    reference: Launcher


class CancelledError(Exception):
    """The run was cancelled."""


class CancelToken:
    """Shared by all tasks of a run; `grace` is how long (seconds) a container may take to terminate."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._event = Event()
        self._lock = Lock()
        self._running: set[Container] = set()

    @property
    def cancelled(self) -> bool:
        """True once the run is to stop."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise CancelledError when the run is to stop."""
        if self.cancelled:
            raise CancelledError

    def sleep(self, seconds: float) -> None:
        """Wait; raises CancelledError as soon as the run is to stop."""
        # Longer waits than the platform's longest would raise OverflowError.
        self._event.wait(min(seconds, TIMEOUT_MAX))
        self.check()

    def cancel(self) -> None:
        """Stop the run: ends all its containers side by side and returns when they have ended."""
        with self._lock:
            self._event.set()
            running = tuple(self._running)
        threads = [Thread(target=container.stop, args=(self._grace,)) for container in running]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def run(self, launcher: Launcher, launch: Launch, *, seconds: float) -> int:
        """Run a command and return its exit code.

        Raises CancelledError when the run is to stop before it begins, TimeoutError when it was ended after
        `seconds`, and ContainerLostError.
        """
        self.check()
        container = launcher.launch(launch)
        with self._watching(container), _limited(container, seconds, self._grace) as limit:
            code = container.wait()
        if limit.exceeded:
            raise TimeoutError
        return code

    @contextmanager
    def _watching(self, container: Container) -> Iterator[None]:
        """End `container` when the run is cancelled while the block runs."""
        with self._lock:
            self._running.add(container)
            late = self._event.is_set()
        # `cancel` may have run between the launch and here, without this container on its list.
        if late:
            container.stop(self._grace)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(container)


class _TimeLimit:
    """Records that a container was ended because it took too long."""

    def __init__(self) -> None:
        self.exceeded = False


@contextmanager
def _limited(container: Container, seconds: float, grace: float) -> Iterator[_TimeLimit]:
    """End `container` if the block takes longer than `seconds`; `grace` is as for CancelToken."""
    limit = _TimeLimit()

    def end() -> None:
        limit.exceeded = True
        container.stop(grace)

    timer = Timer(min(seconds, TIMEOUT_MAX), end)
    timer.daemon = True
    timer.start()
    try:
        yield limit
    finally:
        timer.cancel()
