"""When to ask Vertex AI again: intervals, back-off and which errors are worth waiting out. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Dice(Protocol):
    """The one method of ``random.Random`` that jitter needs."""

    def uniform(self, a: float, b: float) -> float:
        """Return a number between the two."""


@unique
class Verdict(StrEnum):
    """What a failed call means for whoever waits for the job."""

    TRANSIENT = "transient"
    UNREADY = "unready"
    CONFLICT = "conflict"
    MISSING = "missing"
    DENIED = "denied"
    INVALID = "invalid"


# HTTP codes, which google.api_core gives its gRPC errors as well.
_TRANSIENT_CODES = frozenset({408, 429, 499, 500, 502, 503, 504})
_VERDICTS: Mapping[int, Verdict] = {
    401: Verdict.DENIED,
    403: Verdict.DENIED,
    404: Verdict.MISSING,
    409: Verdict.CONFLICT,
}

# Answers of a project that uses Vertex AI for the first time, in these words of public reports: its service
# agents are being made, or have not got their roles yet. Both pass within minutes, or somebody must act.
_UNREADY = re.compile(
    r"service agents? (is|are) being provisioned|@gcp-sa-aiplatform[\w-]*\.iam", re.IGNORECASE
)
_UNREADY_CODES = frozenset({400, 403})
# Predict's answer, in the words of public reports, until the first split of an endpoint has reached it.
_UNSPLIT = re.compile(r"doesn't have traffic_split")
_BAD_REQUEST = 400


def judge(error: BaseException) -> Verdict:
    """Return what an exception of a Vertex AI call means.

    Transient: 408, 429, 499, 5xx except UNIMPLEMENTED, gRPC's UNKNOWN, a lost connection, credentials that
    could not be refreshed just now. 499 is a call that the transport cancelled, not the job. UNKNOWN, which
    google.api_core gives no HTTP code, is what gRPC makes of a stream that broke. An endpoint whose first
    traffic split has not taken effect is transient as well.
    """
    code = getattr(error, "code", None)
    number = getattr(code, "value", code)
    if getattr(getattr(error, "grpc_status_code", None), "name", "") == "UNKNOWN" or (
        number == _BAD_REQUEST and _UNSPLIT.search(str(error))
    ):
        return Verdict.TRANSIENT
    if isinstance(number, int):
        if number in _UNREADY_CODES and _UNREADY.search(str(error)):
            return Verdict.UNREADY
        if number in _TRANSIENT_CODES:
            return Verdict.TRANSIENT
        return _VERDICTS.get(number, Verdict.INVALID)
    if getattr(error, "retryable", False) or isinstance(error, ConnectionError | TimeoutError):
        return Verdict.TRANSIENT
    return Verdict.INVALID


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """How often to ask, in seconds.

    The interval grows with the job's age, so that its end is noticed within ``share`` of its duration, and
    carries ±20 % jitter so that jobs that started together do not ask together. ``unready`` is how long a
    project that uses Vertex AI for the first time may take to give its service agents their roles.
    """

    shortest: float = 2.0
    longest: float = 60.0
    share: float = 0.05
    outage: float = 1800.0
    unready: float = 600.0

    def __post_init__(self) -> None:
        """Refuse intervals that would hammer the API or never ask.

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
        """Return how long to wait before asking about a job of this age."""
        steady = min(self.longest, max(self.shortest, age * self.share))
        return steady * dice.uniform(0.8, 1.2)

    def back_off(self, *, failures: int, dice: Dice) -> float:
        """Return how long to wait after so many failed calls in a row: doubling, at most ``longest``."""
        steady = min(self.longest, self.shortest * 2.0 ** min(failures, 16))
        return steady * dice.uniform(0.5, 1.0)
