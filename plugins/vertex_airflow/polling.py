"""The schedule of polls, and the meaning of each answer or failed call for a caller that waits for a job.

Pure: the loops around it only call and sleep.
"""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Protocol, Self

from vertex_airflow.jobs import JobState, progress_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vertex_airflow.jobs import JobView


class Dice(Protocol):
    """The one method of ``random.Random`` that jitter needs."""

    def uniform(self, a: float, b: float) -> float:
        """Return a number between the two."""


@unique
class ErrorKind(StrEnum):
    """The meaning of a failed call for a caller that waits for the job."""

    TRANSIENT = "transient"
    UNREADY = "unready"
    CONFLICT = "conflict"
    MISSING = "missing"
    DENIED = "denied"
    INVALID = "invalid"


# HTTP codes, which google.api_core gives its gRPC errors as well.
_TRANSIENT_CODES = frozenset({408, 429, 499, 500, 502, 503, 504})
_KINDS: Mapping[int, ErrorKind] = {
    401: ErrorKind.DENIED,
    403: ErrorKind.DENIED,
    404: ErrorKind.MISSING,
    409: ErrorKind.CONFLICT,
}

# Replies of a project that uses Vertex AI for the first time, in these words of public reports: its service
# agents are being created, or do not have their roles yet. Both pass within minutes, or a person must act.
_UNREADY = re.compile(
    r"service agents? (is|are) being provisioned|@gcp-sa-aiplatform[\w-]*\.iam", re.IGNORECASE
)
_UNREADY_CODES = frozenset({400, 403})
# Predict's reply, in the words of public reports, until the first split of an endpoint has reached it.
_UNSPLIT = re.compile(r"doesn't have traffic_split")
_BAD_REQUEST = 400


def classify(error: BaseException) -> ErrorKind:
    """Return the kind of an exception that a call to Vertex AI raised.

    Transient: 408, 429, 499, 5xx except UNIMPLEMENTED, gRPC's UNKNOWN, a lost connection, credentials that
    could not be refreshed just now. 499 is a call that the transport cancelled, not the job. UNKNOWN, which
    google.api_core gives no HTTP code, is how gRPC reports a stream that broke. An endpoint whose first
    traffic split has not taken effect is transient as well.
    """
    code = getattr(error, "code", None)
    number = getattr(code, "value", code)
    if getattr(getattr(error, "grpc_status_code", None), "name", "") == "UNKNOWN" or (
        number == _BAD_REQUEST and _UNSPLIT.search(str(error))
    ):
        return ErrorKind.TRANSIENT
    if isinstance(number, int):
        if number in _UNREADY_CODES and _UNREADY.search(str(error)):
            return ErrorKind.UNREADY
        if number in _TRANSIENT_CODES:
            return ErrorKind.TRANSIENT
        return _KINDS.get(number, ErrorKind.INVALID)
    if getattr(error, "retryable", False) or isinstance(error, ConnectionError | TimeoutError):
        return ErrorKind.TRANSIENT
    return ErrorKind.INVALID


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """The intervals between polls, in seconds.

    The interval grows with the job's age, so that its end is noticed within ``share`` of its duration, and
    carries ±20 % jitter so that jobs that started together are not polled together. ``unready`` is how long a
    project that uses Vertex AI for the first time may take to give its service agents their roles.
    """

    shortest: float = 2.0
    longest: float = 60.0
    share: float = 0.05
    outage: float = 1800.0
    unready: float = 600.0

    def __post_init__(self) -> None:
        """Refuse intervals that would hammer the API or never poll.

        Raises:
            ValueError: when not 0 < shortest <= longest, or share or outage is not positive.

        """
        if not 0 < self.shortest <= self.longest:
            raise ValueError(
                f"poll intervals need 0 < shortest <= longest, got {self.shortest} and {self.longest} seconds"
            )
        if self.share <= 0 or self.outage <= 0:
            raise ValueError(f"share and outage must be positive, got {self.share} and {self.outage}")

    def interval(self, *, age: float, dice: Dice) -> float:
        """Return how long to wait before the next poll of a job of this age."""
        steady = min(self.longest, max(self.shortest, age * self.share))
        return steady * dice.uniform(0.8, 1.2)

    def back_off(self, *, failures: int, dice: Dice) -> float:
        """Return how long to wait after so many failed calls in a row: doubling, at most ``longest``."""
        # Bounded, because 2.0 ** 1024 overflows; 2 ** 16 seconds are beyond any `longest`.
        steady = min(self.longest, self.shortest * 2.0 ** min(failures, 16))
        return steady * dice.uniform(0.5, 1.0)


@unique
class Ending(StrEnum):
    """The reason why a wait is over."""

    FINAL = "final"
    OVERDUE = "overdue"
    OUTAGE = "outage"
    MISSING = "missing"
    DENIED = "denied"
    INVALID = "invalid"


_DETAIL_LENGTH = 400
_ENDINGS = {
    ErrorKind.MISSING: Ending.MISSING,
    ErrorKind.DENIED: Ending.DENIED,
    ErrorKind.UNREADY: Ending.DENIED,
}
_MOST_CONFLICTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitResult:
    """The end of a wait, small enough for a trigger's event: under 1 KB."""

    ending: Ending
    state: JobState = JobState.UNKNOWN
    detail: str = ""

    def to_event(self) -> dict[str, str]:
        """Return the payload of a TriggerEvent."""
        return {"ending": self.ending, "state": self.state, "detail": self.detail[:_DETAIL_LENGTH]}

    @classmethod
    def from_event(cls, event: dict[str, str]) -> Self:
        """Return the result that `to_event` was called on."""
        return cls(
            ending=Ending(event["ending"]), state=JobState(event["state"]), detail=event.get("detail", "")
        )


@dataclass(slots=True, kw_only=True)
class Doubt:
    """The possibility that something exists that lists, which lag behind, do not show yet.

    It begins with a call that may have taken effect without a reply, and is over `lag` seconds later. Times
    are those of a clock that never goes back.
    """

    lag: float
    _until: float = -math.inf

    def begin(self, *, now: float) -> None:
        """Doubt from now on, for as long as lists may lag."""
        self._until = now + self.lag

    def end(self) -> None:
        """Stop doubting: what there was to find has been found."""
        self._until = -math.inf

    def holds(self, *, now: float) -> bool:
        """Return whether to look again rather than to create it."""
        return now < self._until


@dataclass(slots=True, kw_only=True)
class Wait:
    """The memory of one wait between two calls. Times are seconds since the epoch.

    ``deadline`` is absolute, so that it survives a restart of the waiting process.
    """

    polling: Polling
    deadline: float | None = None
    dice: Dice = field(default_factory=random.SystemRandom)
    _failures: int = 0
    _failing_since: float | None = None
    _table: str = ""
    _started: float | None = None

    def answered(self, job: JobView, *, now: float) -> WaitResult | None:
        """Return how the wait ends with this answer, or None to poll again after `pause`."""
        self._failures, self._failing_since = 0, None
        if not job.active:
            return WaitResult(ending=Ending.FINAL, state=job.state)
        if self.deadline is not None and now >= self.deadline:
            return WaitResult(ending=Ending.OVERDUE, state=job.state)
        return None

    def failed(self, error: BaseException, *, now: float) -> WaitResult | None:
        """Return how the wait ends with this failed call, or None to poll again after `pause`."""
        kind = classify(error)
        detail = f"{type(error).__name__}: {error}"
        if kind is ErrorKind.CONFLICT and self._failures < _MOST_CONFLICTS:
            kind = ErrorKind.TRANSIENT  # another process was faster: the next look shows what is there now
        if self._failing_since is None:
            self._failing_since = now
        if kind is ErrorKind.UNREADY and now - self._failing_since < self.polling.unready:
            kind = ErrorKind.TRANSIENT
        if kind is not ErrorKind.TRANSIENT:
            return WaitResult(ending=_ENDINGS.get(kind, Ending.INVALID), detail=detail)
        self._failures += 1
        if now - self._failing_since >= self.polling.outage:
            return WaitResult(ending=Ending.OUTAGE, detail=detail)
        if self.deadline is not None and now >= self.deadline:
            return WaitResult(ending=Ending.OVERDUE, detail=detail)
        return None

    @property
    def failing(self) -> bool:
        """True if the last call failed."""
        return self._failures > 0

    def time_left(self, *, now: float) -> float:
        """Return the seconds until the deadline requires a call."""
        return math.inf if self.deadline is None else max(self.polling.shortest, self.deadline - now)

    def pause(self, job: JobView | None, *, now: float) -> float:
        """Return how many seconds to wait before the next call."""
        if self._failures:
            pause = self.polling.back_off(failures=self._failures, dice=self.dice)
        else:
            # An operation does not say when it was created: the age of the wait stands for its own.
            self._started = now if self._started is None else self._started
            created = job.created if job and job.created else self._started
            pause = self.polling.interval(age=now - created, dice=self.dice)
        return min(pause, self.time_left(now=now))

    def news(self, job: JobView) -> str:
        """Return the progress table if it has changed, else an empty string."""
        table = progress_table(job.components)
        if table == self._table:
            return ""
        self._table = table
        return table
