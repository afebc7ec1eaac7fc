"""Numbers of a split as TFDV's quantiles describe them: a hundred buckets with as many values each.

An unknown float is -1 and an unknown area 0 in the trips, which TFDV takes for values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tensorflow_metadata.proto.v0 import statistics_pb2

from taxi_ml.modules import profiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

QUANTILES: Final = 100
"""Buckets of the statistics, so that every share is known to one percent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """`count` values from `low` to `high`; all are the same where these are equal."""

    low: float
    high: float
    count: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """A feature's known values in ascending buckets; `absent` is the share of its rows that have none."""

    known: tuple[Bucket, ...]
    absent: float

    @property
    def count(self) -> float:
        """The number of known values, to one percent of the rows."""
        return sum(bucket.count for bucket in self.known)

    @property
    def median(self) -> float:
        """The median of the known values, of which there must be one."""
        left = self.count / 2
        for bucket in self.known:
            if left <= bucket.count:
                return bucket.low + (bucket.high - bucket.low) * left / bucket.count
            left -= bucket.count
        return self.known[-1].high

    @property
    def common(self) -> dict[float, float]:
        """The shares of the known values that fill a bucket alone, as those of 2 % and more do."""
        shares: dict[float, float] = {}
        for bucket in self.known:
            if bucket.low == bucket.high:
                shares[bucket.low] = shares.get(bucket.low, 0.0) + bucket.count / self.count
        return shares

    def shares(self, edges: Sequence[float]) -> dict[str, float]:
        """Return the share of the rows between each two edges, open at both ends, and of unknown values."""
        known = 1 - self.absent
        found = {str(index): 0.0 for index in range(len(edges) + 1)} | {profiles.ABSENT: self.absent}
        for bucket in self.known:
            for index, part in _spread(bucket, edges):
                found[str(index)] += known * part * bucket.count / self.count
        return found

    @property
    def tenths(self) -> list[float]:
        """Edges with about a tenth of the known values between each two."""
        step = max(1, len(self.known) // 10)
        return sorted({bucket.low for bucket in self.known[step::step]})


def _spread(bucket: Bucket, edges: Sequence[float]) -> Iterator[tuple[int, float]]:
    """Yield the bins that a bucket lies in, and its fraction in each; an edge belongs to the bin above it."""
    low_ends, high_ends = [-float("inf"), *edges], [*edges, float("inf")]
    width = bucket.high - bucket.low
    for index, (low, high) in enumerate(zip(low_ends, high_ends, strict=True)):
        if not width:
            if low <= bucket.low < high:
                yield index, 1.0
        elif low < bucket.high and bucket.low < high:
            yield index, (min(high, bucket.high) - max(low, bucket.low)) / width


def numbers(found: Any, *, zero_is_unknown: bool) -> Numbers | None:  # noqa: ANN401  # protobuf messages
    """Return the values of a FeatureNameStatistics; None for strings, and for a feature without values."""
    if not found.HasField("num_stats") or not found.num_stats.common_stats.num_non_missing:
        return None
    least = 0 if is_float(found) else 1 if zero_is_unknown else -float("inf")
    buckets = tuple(
        Bucket(low=max(bucket.low_value, least), high=bucket.high_value, count=bucket.sample_count)
        for histogram in found.num_stats.histograms
        if histogram.type == statistics_pb2.Histogram.QUANTILES
        for bucket in histogram.buckets
        if bucket.high_value >= least
    )
    has_unknown = is_float(found) or zero_is_unknown
    return Numbers(known=buckets, absent=absent_share(found) if has_unknown else 0.0)


def absent_share(found: Any) -> float:  # noqa: ANN401  # as above
    """Return the share of unknown values: 0 stands for them in an integer, -1 in a float."""
    statistics = found.num_stats
    count = statistics.common_stats.num_non_missing
    if not count:
        return 0.0
    if not is_float(found):
        return float(statistics.num_zeros / count)
    below = sum(
        bucket.sample_count
        for histogram in statistics.histograms
        if histogram.type == statistics_pb2.Histogram.QUANTILES
        for bucket in histogram.buckets
        if bucket.high_value < 0
    )
    # The counts of buckets are fractions, which may add up to a little more than all.
    return min(1.0, float(below / count))


def is_float(found: Any) -> bool:  # noqa: ANN401  # as above
    """Return True if a feature's statistics are of floats."""
    return bool(found.type == statistics_pb2.FeatureNameStatistics.FLOAT)
