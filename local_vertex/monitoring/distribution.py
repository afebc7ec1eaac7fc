"""Histograms of latencies with exponential buckets, as Cloud Monitoring keeps them (pure)."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from typing import Self

FINITE_BUCKETS: Final = 66
GROWTH: Final = 1.4
SCALE: Final = 1.0
_LOG_GROWTH: Final = math.log(GROWTH)


def bounds(bucket: int) -> tuple[float, float]:
    """Return the inclusive lower and exclusive upper bound of a bucket.

    Bucket 0 has what is below SCALE; latencies are not negative, so it begins at 0. The last one has no end.
    """
    lower = SCALE * GROWTH ** (bucket - 1) if bucket else 0.0
    upper = SCALE * GROWTH**bucket if bucket <= FINITE_BUCKETS else math.inf
    return lower, upper


@dataclass(slots=True)
class Distribution:
    """The number, mean and sum of squared deviations of values, and how many fell into each bucket."""

    count: int = 0
    mean: float = 0.0
    deviation: float = 0.0
    buckets: Counter[int] = field(default_factory=Counter)

    def add(self, value: float) -> None:
        """Take one more value (Welford's method)."""
        self.count += 1
        step = value - self.mean
        self.mean += step / self.count
        self.deviation += step * (value - self.mean)
        bucket = 0 if value < SCALE else 1 + int(math.log(value / SCALE) / _LOG_GROWTH)
        self.buckets[min(bucket, FINITE_BUCKETS + 1)] += 1

    def merge(self, other: Distribution) -> Self:
        """Take all values of another one; return this one."""
        count = self.count + other.count
        if other.count:
            step = other.mean - self.mean
            self.deviation += other.deviation + step * step * self.count * other.count / count
            self.mean += step * other.count / count
            self.count = count
            self.buckets.update(other.buckets)
        return self

    def percentile(self, percent: float) -> float:
        """Return an estimate of a percentile, as if the values were spread evenly in each bucket.

        That of nothing is 0; beyond the last finite bucket it is the bucket's lower bound.
        """
        rank, below = self.count * percent / 100, 0
        for bucket, count in sorted(self.buckets.items()):
            if below + count >= rank:
                lower, upper = bounds(bucket)
                return lower if math.isinf(upper) else lower + (upper - lower) * (rank - below) / count
            below += count
        return 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the content for `from_json`."""
        return {
            "count": self.count,
            "mean": self.mean,
            "deviation": self.deviation,
            "buckets": sorted(self.buckets.items()),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Return the distribution of which `to_json` made this content."""
        buckets = Counter(dict(content["buckets"]))
        return cls(content["count"], content["mean"], content["deviation"], buckets)
