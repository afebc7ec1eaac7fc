"""The guards of a roll-out: what the metrics of a step say about the new model. Pure."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_P95 = 0.95


@unique
class Guard(StrEnum):
    """What is guarded."""

    REQUESTS = "requests"
    ERROR_RATE = "error_rate"
    LATENCY_P95 = "latency_p95"


@unique
class Verdict(StrEnum):
    """What a guard says."""

    PASSED = "passed"
    BREACHED = "breached"
    NO_DATA = "no_data"
    WAITING = "waiting"


@unique
class WithoutMetrics(StrEnum):
    """What a step does if it has waited its longest for metrics, and there are too few: it never passes."""

    ROLL_BACK = "roll_back"
    WAIT = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Latencies in seconds, counted by the lower and upper bound of their bucket."""

    counts: Mapping[tuple[float, float], int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """The number of latencies."""
        return sum(self.counts.values())

    def plus(self, other: Histogram) -> Histogram:
        """Return the latencies of both."""
        return Histogram(counts=Counter(self.counts) + Counter(other.counts))

    def quantile(self, share: float) -> float:
        """Return an estimate of a quantile, as if a bucket's latencies were spread evenly.

        Beyond the last bucket with an upper bound it is that bound; nan of no latencies.
        """
        rank, below = self.total * share, 0
        for (lower, upper), count in sorted(self.counts.items()):
            if count and below + count >= rank:
                inside = (rank - below) / count
                return lower if math.isinf(upper) else lower + (upper - lower) * inside
            below += count
        return math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The metrics of one deployed model in a period, in seconds since the epoch."""

    deployed_model: str
    began: float
    ended: float
    requests: int = 0
    errors: int = 0
    latencies: Histogram = Histogram()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What one deployed model did in a window of time."""

    requests: int = 0
    errors: int = 0
    latencies: Histogram = Histogram()

    @classmethod
    def of(cls, points: Iterable[Point], deployed_model: str, *, began: float, until: float) -> Self:
        """Return the sum of a model's points that lie in the window as a whole.

        The point in which the window begins counts requests of before as well.
        """
        inside = [
            each
            for each in points
            if each.deployed_model == deployed_model and began <= each.began and each.ended <= until
        ]
        latencies = Histogram()
        for each in inside:
            latencies = latencies.plus(each.latencies)
        return cls(
            requests=sum(each.requests for each in inside),
            errors=sum(each.errors for each in inside),
            latencies=latencies,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a guard observed in a window of time, and what it allows.

    Rates and differences are fractions, latencies are in seconds, times are seconds since the epoch.
    `observed` is nan where there is nothing to observe.
    """

    guard: Guard
    observed: float
    allowed: float
    began: float
    until: float
    verdict: Verdict

    def __str__(self) -> str:
        """Return the reading as a sentence without a full stop."""
        window = f"between {_clock(self.began)} and {_clock(self.until)} UTC"
        observed, allowed = (_shown(self.guard, each) for each in (self.observed, self.allowed))
        if self.guard is Guard.REQUESTS:
            return f"the model answered {observed} requests {window}, and {allowed} are needed"
        return f"{self.guard} was {observed} {window}, and {allowed} is allowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What is to happen to a step: go on, wait or go back; `reason` says why it goes back."""

    verdict: Verdict
    readings: tuple[Reading, ...] = ()
    requests: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """The bounds of every step of a roll-out.

    `max_error_rate` is a fraction of the requests. `max_latency_ratio` is the new model's 95th percentile
    divided by the champion's in the same window. A step needs `min_requests` of the new model, and its
    latency as many of the champion. Metrics are complete at an age of `metrics_delay`; a step goes on waiting
    for requests for `longest_wait` after its own time. Durations are in seconds.
    """

    max_error_rate: float = 0.01
    max_latency_ratio: float = 1.5
    min_requests: int = 100
    metrics_delay: float = 300.0
    longest_wait: float = 6 * 3600.0
    without_metrics: WithoutMetrics = WithoutMetrics.ROLL_BACK

    def __post_init__(self) -> None:
        """Refuse bounds that would let everything or nothing pass.

        Raises:
            ValueError: naming the bound.

        """
        if not 0 <= self.max_error_rate <= 1:
            raise ValueError(f"max_error_rate is a fraction from 0 to 1, got {self.max_error_rate}")
        if not 0 < self.max_latency_ratio < math.inf:
            raise ValueError(f"max_latency_ratio is a number above 0, got {self.max_latency_ratio}")
        for name in ("min_requests", "metrics_delay", "longest_wait"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is a number from 0, got {value}")

    def assess(
        self, points: Iterable[Point], deployed_model: str, champion: str, *, step: Bake, now: float
    ) -> Assessment:
        """Return what the metrics of a step say now.

        Only metrics that are complete count: a series that is visible before another one would show errors
        without their requests. A breach ends the step at once. It passes when its time is over and every
        guard has seen enough.
        """
        until = max(step.began, now - self.metrics_delay)
        readings, requests = self._read(list(points), deployed_model, champion, step.began, until)
        breaches = [each for each in readings if each.verdict is Verdict.BREACHED]
        if breaches:
            reason = "; ".join(map(str, breaches))
            return Assessment(verdict=Verdict.BREACHED, readings=readings, requests=requests, reason=reason)
        if until < step.began + step.seconds:
            return Assessment(verdict=Verdict.WAITING, readings=readings, requests=requests)
        if all(each.verdict is Verdict.PASSED for each in readings):
            return Assessment(verdict=Verdict.PASSED, readings=readings, requests=requests)
        if until < step.began + step.seconds + self.longest_wait:
            return Assessment(verdict=Verdict.WAITING, readings=readings, requests=requests)
        return self._without_data(readings, requests)

    def _read(
        self, points: list[Point], deployed_model: str, champion: str, began: float, until: float
    ) -> tuple[tuple[Reading, ...], int]:
        """Return what every guard reads in a window, and the requests of the new model."""
        own, other = (
            Observed.of(points, each, began=began, until=until) for each in (deployed_model, champion)
        )
        readings = tuple(
            Reading(
                guard=guard, observed=observed, allowed=allowed, began=began, until=until, verdict=verdict
            )
            for guard, observed, allowed, verdict in (
                self._requests(own),
                self._errors(own),
                self._latency(own, other),
            )
        )
        return readings, own.requests

    def unreadable(self, problem: str) -> Assessment:
        """Return what is to happen to a step whose metrics cannot be read."""
        reason = f"the metrics cannot be read: {problem}"
        return Assessment(verdict=_WITHOUT_METRICS[self.without_metrics], reason=reason)

    def _without_data(self, readings: tuple[Reading, ...], requests: int) -> Assessment:
        missing = tuple(
            replace(each, verdict=Verdict.NO_DATA) if each.verdict is Verdict.WAITING else each
            for each in readings
        )
        named = "; ".join(str(each) for each in missing if each.verdict is Verdict.NO_DATA)
        return Assessment(
            verdict=_WITHOUT_METRICS[self.without_metrics],
            readings=missing,
            requests=requests,
            reason=f"there are too few metrics after the longest wait: {named}",
        )

    @property
    def _floor(self) -> int:
        """The least requests: no data is not health."""
        return max(1, self.min_requests)

    def _requests(self, own: Observed) -> tuple[Guard, float, float, Verdict]:
        enough = own.requests >= self._floor
        return Guard.REQUESTS, own.requests, self._floor, Verdict.PASSED if enough else Verdict.WAITING

    def _errors(self, own: Observed) -> tuple[Guard, float, float, Verdict]:
        """Compare the errors with those that the floor of requests would allow, where there are fewer yet."""
        rate = own.errors / own.requests if own.requests else math.nan
        if own.errors > self.max_error_rate * max(own.requests, self._floor):
            rate = min(1.0, own.errors / max(own.requests, own.errors))
            return Guard.ERROR_RATE, rate, self.max_error_rate, Verdict.BREACHED
        enough = own.requests >= self._floor
        return Guard.ERROR_RATE, rate, self.max_error_rate, Verdict.PASSED if enough else Verdict.WAITING

    def _latency(self, own: Observed, champion: Observed) -> tuple[Guard, float, float, Verdict]:
        observed = own.latencies.quantile(_P95)
        allowed = champion.latencies.quantile(_P95) * self.max_latency_ratio
        if min(own.latencies.total, champion.latencies.total) < self._floor:
            return Guard.LATENCY_P95, observed, allowed, Verdict.WAITING
        breached = observed > allowed
        return Guard.LATENCY_P95, observed, allowed, Verdict.BREACHED if breached else Verdict.PASSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Bake:
    """A step under way: when it began, in seconds since the epoch, and how many seconds it lasts."""

    began: float
    seconds: float


_WITHOUT_METRICS = {
    WithoutMetrics.ROLL_BACK: Verdict.BREACHED,
    WithoutMetrics.WAIT: Verdict.WAITING,
}


def _shown(guard: Guard, value: float) -> str:
    if math.isnan(value):
        return "unknown"
    if guard is Guard.REQUESTS:
        return f"{value:.0f}"
    if guard is Guard.ERROR_RATE:
        return f"{value:.2%}"
    return f"{value * 1000:.1f} ms"


def _clock(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}"
