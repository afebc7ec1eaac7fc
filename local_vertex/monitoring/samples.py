"""Counts of the requests that deployed models answered, summed up in periods of equal length."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from local_vertex.domain.errors import InvalidArgument, ResourceExhausted, VertexError
from local_vertex.monitoring.distribution import Distribution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from local_vertex.store import Store

_LOG = logging.getLogger(__name__)

KEPT_SECONDS = 24 * 3600.0
"""How long samples are kept; Cloud Monitoring keeps them for six weeks."""
_MILLISECONDS = 1000.0
# Samples that wait for a disk that is full; older ones are given up.
_MOST_WAITING = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How counts become points, in seconds.

    A point is about one `period`. It is visible between `soonest` and `latest` after the period's end, each
    series' points at times of their own. `clock` tells the time since 1970 in UTC.
    """

    period: float = 60.0
    soonest: float = 2.0
    latest: float = 2.0
    clock: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A deployed model, by the labels of its time series."""

    endpoint_id: str
    endpoint_display_name: str
    deployed_model_id: str
    model_display_name: str


@dataclass(slots=True, kw_only=True)
class Sample:
    """The requests that a deployed model answered in a period, which ends at `end` (seconds since 1970).

    `responses` are requests by class of HTTP status, such as `2xx`; `predictions` are instances that were
    answered. `latencies` are in milliseconds: `total`, `model`, which is the container's, and `overhead`.
    """

    served: Served
    start: float
    end: float
    responses: Counter[str] = field(default_factory=Counter)
    predictions: int = 0
    latencies: dict[str, Distribution] = field(default_factory=dict)

    @property
    def errors(self) -> int:
        """The number of requests that were not answered with a 2xx."""
        return self.responses.total() - self.responses["2xx"]

    def add(self, request: Request) -> None:
        """Count a request."""
        self.responses[request.response] += 1
        self.predictions += request.predictions
        total = time.perf_counter() - request.begin
        for name, seconds in (
            ("total", total),
            ("model", request.model_seconds),
            ("overhead", max(0.0, total - request.model_seconds)),
        ):
            self.latencies.setdefault(name, Distribution()).add(seconds * _MILLISECONDS)

    def to_json(self) -> str:
        """Return the content for `from_json`."""
        latencies = {name: each.to_json() for name, each in self.latencies.items()}
        content = {
            "served": asdict(self.served),
            "start": self.start,
            "end": self.end,
            "responses": self.responses,
            "predictions": self.predictions,
            "latencies": latencies,
        }
        return json.dumps(content, separators=(",", ":"))

    @classmethod
    def from_json(cls, body: str) -> Self:
        """Return the sample of which `to_json` made this content."""
        content: dict[str, Any] = json.loads(body)
        return cls(
            served=Served(**content["served"]),
            start=content["start"],
            end=content["end"],
            responses=Counter(content["responses"]),
            predictions=content["predictions"],
            latencies={name: Distribution.from_json(each) for name, each in content["latencies"].items()},
        )


@dataclass(slots=True, kw_only=True)
class Request:
    """A request that a deployed model is about to answer; `begin` is by `time.perf_counter`."""

    begin: float
    model_seconds: float = 0.0
    predictions: int = 0
    response: str = "2xx"

    @contextmanager
    def of_model(self) -> Iterator[None]:
        """Measure the time that the model's container takes."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.model_seconds = time.perf_counter() - begin


class Samples:
    """Counts requests in memory, and keeps in the store what was counted until the end of each period.

    A server that is killed loses the period that had not ended, and those before it that were neither read
    nor followed by a request.
    """

    def __init__(self, store: Store, sampling: Sampling) -> None:
        self._store = store
        self._sampling = sampling
        self._lock = threading.Lock()
        self._end = 0.0
        self._open: dict[Served, Sample] = {}
        self._ended: list[Sample] = []

    @contextmanager
    def request(self, served: Served, begin: float) -> Iterator[Request]:
        """Count the request that is answered inside of the block, with the error that leaves it."""
        request = Request(begin=begin)
        try:
            yield request
        except Exception as error:
            client = isinstance(error, InvalidArgument | ResourceExhausted)
            request.response = "4xx" if client else "5xx"
            request.predictions = 0
            raise
        finally:
            self._count(served, request)

    def _count(self, served: Served, request: Request) -> None:
        with self._lock:
            has_ended = self._roll()
            sample = self._open.get(served)
            if sample is None:
                start = self._end - self._sampling.period
                sample = self._open[served] = Sample(served=served, start=start, end=self._end)
            sample.add(request)
        if has_ended:
            self._keep()

    def _roll(self) -> bool:
        """Begin a new period if the last one is over; return whether samples have ended with it."""
        now = self._sampling.clock()
        if now < self._end:
            return False
        period = self._sampling.period
        self._end = (now // period + 1) * period
        self._ended = [*self._ended, *self._open.values()][-_MOST_WAITING:]
        self._open = {}
        return bool(self._ended)

    def _keep(self) -> None:
        """Write what has ended; a prediction must not fail because the disk is full."""
        with self._lock:
            ended, self._ended = self._ended, []
        if not ended:
            return
        try:
            self._store.add_samples(
                [(each.end, each.to_json()) for each in ended],
                forget_before=self._sampling.clock() - KEPT_SECONDS,
            )
        except VertexError as error:
            _LOG.warning("samples of predictions are not written yet: %s", error.message)
            with self._lock:
                self._ended = [*ended, *self._ended][-_MOST_WAITING:]

    def between(self, after: float, until: float) -> list[Sample]:
        """Return the samples of the periods that end after one time and not after another, the oldest first.

        One model may have several in a period, such as those before and after a restart.
        """
        with self._lock:
            self._roll()
        self._keep()
        return [Sample.from_json(body) for body in self._store.samples(after, until)]

    def close(self) -> None:
        """Keep what was counted so far."""
        with self._lock:
            self._ended += self._open.values()
            self._open = {}
        self._keep()
