"""One wait for one job: what each answer or failed call means. The loops around it only sleep."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Self

from vertex_airflow.explain import progress_table
from vertex_airflow.polling import Verdict, judge
from vertex_airflow.states import JobState

if TYPE_CHECKING:
    from vertex_airflow.jobs import JobView
    from vertex_airflow.polling import Dice, Polling

_DETAIL_LENGTH = 400


@unique
class Ending(StrEnum):
    """Why a wait is over."""

    FINAL = "final"
    OVERDUE = "overdue"
    OUTAGE = "outage"
    MISSING = "missing"
    DENIED = "denied"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of a wait, small enough for a trigger's event: under 1 KB."""

    ending: Ending
    state: JobState = JobState.UNKNOWN
    detail: str = ""

    def to_event(self) -> dict[str, str]:
        """Return the payload of a TriggerEvent."""
        return {"ending": self.ending, "state": self.state, "detail": self.detail[:_DETAIL_LENGTH]}

    @classmethod
    def from_event(cls, event: dict[str, str]) -> Self:
        """Return the outcome that `to_event` made."""
        return cls(
            ending=Ending(event["ending"]), state=JobState(event["state"]), detail=event.get("detail", "")
        )


@dataclass(slots=True, kw_only=True)
class Doubt:
    """Whether something may have been made that lists, which lag behind, do not show yet.

    It begins with a call that may have been heard without an answer, and is over `lag` seconds later. Times
    are those of a clock that never goes back.
    """

    lag: float
    _until: float = -math.inf

    def begin(self, *, now: float) -> None:
        """Doubt from now on, for as long as lists may lag."""
        self._until = now + self.lag

    def end(self) -> None:
        """Doubt no more: what there was to find has been found."""
        self._until = -math.inf

    def holds(self, *, now: float) -> bool:
        """Tell whether to look again rather than to make it."""
        return now < self._until


_VERDICT_ENDINGS = {
    Verdict.MISSING: Ending.MISSING,
    Verdict.DENIED: Ending.DENIED,
    Verdict.UNREADY: Ending.DENIED,
}
_MOST_CONFLICTS = 5


@dataclass(slots=True, kw_only=True)
class Wait:
    """What one wait remembers between two calls. Times are seconds since the epoch.

    ``deadline`` is absolute, so that it survives the restart of whoever waits.
    """

    polling: Polling
    deadline: float | None = None
    dice: Dice = field(default_factory=random.SystemRandom)
    _failures: int = 0
    _failing_since: float | None = None
    _table: str = ""
    _started: float | None = None

    def answered(self, job: JobView, *, now: float) -> Outcome | None:
        """Return how the wait ends with this answer, or None to ask again after `pause`."""
        self._failures, self._failing_since = 0, None
        if not job.active:
            return Outcome(ending=Ending.FINAL, state=job.state)
        if self.deadline is not None and now >= self.deadline:
            return Outcome(ending=Ending.OVERDUE, state=job.state)
        return None

    def failed(self, error: BaseException, *, now: float) -> Outcome | None:
        """Return how the wait ends with this failed call, or None to ask again after `pause`."""
        verdict = judge(error)
        detail = f"{type(error).__name__}: {error}"
        if verdict is Verdict.CONFLICT and self._failures < _MOST_CONFLICTS:
            verdict = Verdict.TRANSIENT  # somebody was faster: the next look shows what is there now
        if self._failing_since is None:
            self._failing_since = now
        if verdict is Verdict.UNREADY and now - self._failing_since < self.polling.unready:
            verdict = Verdict.TRANSIENT
        if verdict is not Verdict.TRANSIENT:
            ending = _VERDICT_ENDINGS.get(verdict, Ending.INVALID)
            return Outcome(ending=ending, detail=detail)
        self._failures += 1
        if now - self._failing_since >= self.polling.outage:
            return Outcome(ending=Ending.OUTAGE, detail=detail)
        if self.deadline is not None and now >= self.deadline:
            return Outcome(ending=Ending.OVERDUE, detail=detail)
        return None

    @property
    def failing(self) -> bool:
        """Whether the last call failed."""
        return self._failures > 0

    def time_left(self, *, now: float) -> float:
        """Return the seconds until the job has to be asked for because of the deadline."""
        return math.inf if self.deadline is None else max(self.polling.shortest, self.deadline - now)

    def pause(self, job: JobView | None, *, now: float) -> float:
        """Return how many seconds to wait before the next call."""
        if self._failures:
            pause = self.polling.back_off(failures=self._failures, dice=self.dice)
        else:
            pause = self.polling.interval(age=self._age(job, now), dice=self.dice)
        return min(pause, self.time_left(now=now))

    def _age(self, job: JobView | None, now: float) -> float:
        """Return the job's age, or that of the wait where the job does not say when it was created."""
        if self._started is None:
            self._started = now
        return now - (job.created if job and job.created else self._started)

    def news(self, job: JobView) -> str:
        """Return the progress table when it says something new, else an empty text."""
        table = progress_table(job.components)
        if table == self._table:
            return ""
        self._table = table
        return table
