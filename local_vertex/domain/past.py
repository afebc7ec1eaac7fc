"""The state of resources some seconds ago, which lagging replicas of a service still show (pure)."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class Lags:
    """The lags of replicas in seconds: of those that answer lists, and of those that route predictions."""

    lists: float = 0.0
    traffic: float = 0.0

    @property
    def longest(self) -> float:
        """The time for which the past is kept."""
        return max(self.lists, self.traffic)


NO_LAGS: Final = Lags()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One resource of the store; `position` orders the resources of a kind, the oldest first."""

    position: int
    name: str
    parent: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    at: float
    kind: str
    name: str
    before: Row | None


class Past:
    """Resources before their latest changes, in memory: a server that starts has no past.

    :param kept: seconds for which a change is remembered; with 0 nothing is, and the past is the present
    :param clock: seconds of a clock that never goes back
    """

    def __init__(self, kept: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept = kept
        self._clock = clock
        self._changes: deque[_Change] = deque()

    @property
    def is_kept(self) -> bool:
        """True when changes need to be noted."""
        return self._kept > 0

    def note(self, kind: str, name: str, before: Row | None) -> None:
        """Remember what a resource was before it changes now; None: it did not exist.

        A change that is rolled back may be noted, too: undoing it changes nothing.
        """
        now = self._clock()
        self._changes.append(_Change(at=now, kind=kind, name=name, before=before))
        while self._changes[0].at < now - self._kept:
            self._changes.popleft()

    def rows(self, kind: str, rows: Iterable[Row], *, age: float) -> list[Row]:
        """Return the rows of a kind as they were `age` seconds ago, the newest first.

        :param rows: the present ones, of all parents
        """
        then = self._clock() - age
        shown = {row.name: row for row in rows}
        for change in reversed(self._changes):
            if change.at <= then:
                break
            if change.kind != kind:
                continue
            if change.before is None:
                shown.pop(change.name, None)
            else:
                shown[change.name] = change.before
        return sorted(shown.values(), key=lambda row: -row.position)
