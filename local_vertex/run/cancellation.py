"""Lets containers be ended from another thread: all of a run at once, or one that takes too long."""

from __future__ import annotations

from contextlib import contextmanager
from threading import TIMEOUT_MAX, Event, Lock, Thread, Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_vertex.run.containers import Container, Launch, Launcher


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
        """Whether the run is to stop."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise CancelledError when the run is to stop."""
        if self.cancelled:
            raise CancelledError

    def sleep(self, seconds: float) -> None:
        """Wait; raises CancelledError as soon as the run is to stop."""
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
        if late:
            container.stop(self._grace)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(container)


class _TimeLimit:
    """Says whether a container was ended because it took too long."""

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
