"""One look at the list of active jobs on behalf of all waits for one of them."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vertex_airflow.polling import ErrorKind, Polling, classify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

# Requests a second for one kind of job in one project and region, where Vertex AI allows 600 a minute:
# https://cloud.google.com/vertex-ai/docs/quotas
_PAGES: Final = 1.0
_ASKS_OF_LISTED: Final = 1.0  # for their progress, and in case that lists err
_ASKS_OF_UNLISTED: Final = 3.0
# Seconds until a list that was refused is tried again; the permission may have been granted by then.
_REFUSED: Final = 600.0
_PASSING = frozenset({ErrorKind.TRANSIENT, ErrorKind.UNREADY, ErrorKind.CONFLICT})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The ids of the active jobs, and how many requests it took to get them."""

    ids: frozenset[str]
    pages: int


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiter:
    """A wait for a job, behind ``others``; ``expected`` while lists should show the job."""

    job: str
    others: int
    expected: bool
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def queue(self) -> float:
        """The seconds until it is this waiter's turn."""
        return self.others / (_ASKS_OF_LISTED if self.expected else _ASKS_OF_UNLISTED)

    def compare(self, active: frozenset[str]) -> None:
        """Wake up if a list does not show a job that it should, and expect it next time if it does."""
        if self.expected and self.job not in active:
            self.gone.set()
        self.expected = self.job in active

    async def sleep(self, seconds: float) -> None:
        """Sleep for that long, or until a list does not show the expected job."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.gone.wait()


class JobWatch:
    """Schedules the polls by name of all waits for jobs of one kind in one place.

    Lists may lag behind, leave a job out or be refused, so the only conclusion ever drawn from one is that a
    job need not be polled yet. The wait that is due first begins the look that serves all the others as well.

    :param look: returns the active jobs; waits never see what it raises
    """

    def __init__(self, look: Callable[[], Awaitable[Listing]]) -> None:
        self._look = look
        self._waiters: set[_Waiter] = set()
        self._active: frozenset[str] = frozenset()
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = -math.inf
        self._not_before = -math.inf
        self._failures = 0
        self._refused = False

    @asynccontextmanager
    async def turn(
        self, job: str, *, delay: float, pause: Callable[[], float], at_latest: float
    ) -> AsyncIterator[None]:
        """Wait until it is time to poll a job by name, which is done within the context.

        That is as soon as a list no longer shows it among the active ones, or else when it is its turn: the
        more jobs wait, the less often. A wait that is alone only polls by name.

        :param job: its id
        :param delay: seconds until a look, or a poll by name, is due; 0: the job has not been polled yet
        :param pause: returns the seconds from one look to the next
        :param at_latest: seconds after which to poll regardless
        """
        expected = not self._refused and (delay == 0 or job in self._active)
        waiter = _Waiter(job=job, others=len(self._waiters), expected=expected)
        self._waiters.add(waiter)
        try:
            await self._until_due(waiter, delay, pause, at_latest)
            yield
        finally:
            self._waiters.discard(waiter)
            if not self._waiters and self._looking:
                self._looking.cancel()

    async def _until_due(
        self, waiter: _Waiter, delay: float, pause: Callable[[], float], at_latest: float
    ) -> None:
        clock = asyncio.get_running_loop().time
        joined = clock()
        seen, due = joined, joined + delay
        while not waiter.gone.is_set():
            turn = joined + min(delay + waiter.queue, at_latest)
            begin = max(due, self._not_before)
            if (now := clock()) >= turn:
                return
            if self._looked_at > seen:
                seen = self._looked_at
                due = seen + pause()
            elif now >= begin:
                if self._looking is None or self._looking.done():
                    self._looking = asyncio.create_task(self._take_a_look(), name="list active jobs")
                await asyncio.wait({self._looking}, timeout=turn - now)
            else:
                await waiter.sleep(min(begin, turn) - now)

    async def _take_a_look(self) -> None:
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            listing = await self._look()
        except Exception as error:  # noqa: BLE001  # waits then poll by name, which decides about them
            self._failed(error, now=clock())
            return
        self._failures = 0
        self._refused = False
        self._active = listing.ids
        self._looked_at = begun
        self._not_before = begun + listing.pages / _PAGES
        for waiter in self._waiters:
            waiter.compare(listing.ids)

    def _failed(self, error: Exception, *, now: float) -> None:
        """Put off the next look. As long as lists are refused, no job is expected in one."""
        self._failures += 1
        self._refused = classify(error) not in _PASSING
        pause = Polling().back_off(failures=self._failures, dice=random.SystemRandom())
        if self._refused:
            pause = _REFUSED
            for waiter in self._waiters:
                waiter.expected = False
        self._not_before = now + pause
        _log.warning(
            "Listing active jobs failed; trying again in %.0f s, and asking for jobs one by one until then: "
            "%s: %s", pause, type(error).__name__, error,
        )  # fmt: skip
