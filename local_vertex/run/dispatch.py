"""Shares this machine's cores and memory fairly between runs."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The needs of one piece of work of a run; `number` counts claims in arrival order."""

    owner: str
    memory: int
    number: int
    cores: int = 1


def next_claim(
    waiting: Sequence[Claim], running: Sequence[Claim], *, cores: int, memory: int | None
) -> Claim | None:
    """Return the claim to serve next, None when all must wait for something to end.

    The run with the least work under way comes first, then the claim that has waited longest. The next claim
    by this rule is never overtaken by a smaller one, so that nothing starves; a claim of more cores or memory
    (bytes; None: unbounded) than there are runs alone.
    """
    if not waiting or len(running) >= cores:
        return None
    working = Counter(claim.owner for claim in running)
    first = min(waiting, key=lambda claim: (working[claim.owner], claim.number))
    together = [*running, first]
    fits = sum(claim.cores for claim in together) <= cores and (
        memory is None or sum(claim.memory for claim in together) <= memory
    )
    return first if fits or not running else None


@dataclass(slots=True, kw_only=True)
class Dispatcher:
    """Runs pieces of work in threads, as many at once as `cores` and `memory` (bytes) allow."""

    cores: int
    memory: int | None = None
    _lock: Lock = field(default_factory=Lock)
    _waiting: dict[Claim, tuple[Future[Any], Callable[[], None]]] = field(default_factory=dict)
    _running: list[Claim] = field(default_factory=list)
    _count: int = 0
    _closed: bool = False
    _threads: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        """Make the threads."""
        self._threads = ThreadPoolExecutor(max_workers=self.cores, thread_name_prefix="task")

    def submit(self, owner: str, memory: int, work: Callable[[], T], *, cores: int = 1) -> Future[T]:
        """Queue `work` of the run `owner`; after `close`, its future is cancelled at once."""
        future: Future[T] = Future()

        def perform() -> None:
            if future.set_running_or_notify_cancel():
                _fulfil(future, work)

        with self._lock:
            self._count += 1
            claim = Claim(owner=owner, memory=memory, number=self._count, cores=cores)
            self._waiting[claim] = (future, perform)
        # `close` may have emptied the queue just before this claim entered it.
        if self._closed:
            self._drop()
        self._serve()
        return future

    def _serve(self) -> None:
        with self._lock:
            while claim := next_claim(
                list(self._waiting), self._running, cores=self.cores, memory=self.memory
            ):
                _, perform = self._waiting.pop(claim)
                self._running.append(claim)
                self._threads.submit(self._perform, claim, perform)

    def _perform(self, claim: Claim, perform: Callable[[], None]) -> None:
        try:
            perform()
        finally:
            with self._lock:
                self._running.remove(claim)
            self._serve()

    def close(self) -> None:
        """Cancel waiting work; return when running work has ended."""
        self._closed = True
        self._drop()
        self._threads.shutdown(wait=True)

    def _drop(self) -> None:
        with self._lock:
            dropped = list(self._waiting.values())
            self._waiting.clear()
        for future, perform in dropped:
            future.cancel()
            # `cancel` alone leaves the future CANCELLED, of which `concurrent.futures.wait` is never told:
            # `perform` does no work now, but notifies the waiting threads.
            perform()


def _fulfil(future: Future[T], work: Callable[[], T]) -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001  # raised again by the caller that waits for the future
        future.set_exception(error)
    else:
        future.set_result(result)
