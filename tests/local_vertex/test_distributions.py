"""Properties of the latencies' histograms, and of what is made of them."""

from __future__ import annotations

import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_vertex.monitoring.aggregation import Aggregation, align, reduce_all
from local_vertex.monitoring.distribution import FINITE_BUCKETS, Distribution, bounds
from local_vertex.monitoring.series import Kind, Point, Series, ValueType

LATENCIES = st.lists(st.floats(0, 1e6), min_size=1, max_size=60)
COUNTS = st.lists(st.integers(0, 1000), min_size=1, max_size=40)


def distribution(values: list[float]) -> Distribution:
    """Return the distribution of some values."""
    result = Distribution()
    for value in values:
        result.add(value)
    return result


@given(LATENCIES)
def test_mean_and_deviation(values: list[float]) -> None:
    """They are those of the values."""
    found = distribution(values)

    assert found.count == found.buckets.total() == len(values)
    assert found.mean == pytest.approx(statistics.fmean(values), abs=1e-6)
    assert found.deviation == pytest.approx(statistics.pvariance(values) * len(values), rel=1e-6, abs=1e-3)


@given(LATENCIES, LATENCIES)
def test_a_merged_distribution_is_that_of_all_values(first: list[float], second: list[float]) -> None:
    """Merging loses nothing."""
    merged, whole = distribution(first).merge(distribution(second)), distribution(first + second)

    assert (merged.count, merged.buckets) == (whole.count, whole.buckets)
    assert merged.mean == pytest.approx(whole.mean, rel=1e-9, abs=1e-9)
    assert merged.deviation == pytest.approx(whole.deviation, rel=1e-6, abs=1e-3)


@given(LATENCIES)
def test_a_distribution_survives_storage(values: list[float]) -> None:
    """JSON gives back what was written."""
    found = distribution(values)

    assert Distribution.from_json(json.loads(json.dumps(found.to_json()))) == found


@given(LATENCIES, st.sampled_from([5, 50, 95, 99]))
def test_a_percentile_is_in_the_bucket_of_the_value_of_that_rank(values: list[float], percent: int) -> None:
    """The estimate is off by no more than the width of a bucket."""
    estimate = distribution(values).percentile(percent)
    rank = max(1, -(-len(values) * percent // 100))
    exact = sorted(values)[rank - 1]
    found = distribution([exact])
    (bucket,) = found.buckets
    lower, upper = bounds(bucket)

    assert lower * (1 - 1e-9) <= estimate <= upper * (1 + 1e-9)


@given(st.floats(0, 1e6))
def test_a_value_is_within_its_bucket(value: float) -> None:
    """Lower bounds are inclusive, upper ones exclusive, but for rounding."""
    (bucket,) = distribution([value]).buckets
    lower, upper = bounds(bucket)

    assert 0 <= bucket <= FINITE_BUCKETS + 1
    assert lower * (1 - 1e-9) <= value < upper * (1 + 1e-9)


@given(COUNTS, st.integers(1, 10))
def test_alignment_counts_each_point_once(counts: list[int], periods: int) -> None:
    """Over an interval that is a multiple of the period, sums of windows add up to the points."""
    points = [Point(start=60.0 * i, end=60.0 * (i + 1), value=count) for i, count in enumerate(counts)]
    series = Series(resource=(), metric=(), kind=Kind.DELTA, value_type=ValueType.INT64, points=points)
    how = Aggregation(aligner="ALIGN_SUM", period=60.0 * periods, reducer="REDUCE_NONE", group_by=())
    end = 60.0 * len(counts)
    aligned = align(series, how, start=end - 60.0 * periods * len(counts), end=end)

    assert sum(each.value for each in aligned.points if isinstance(each.value, int)) == sum(counts)
    assert all(each.end - each.start == how.period for each in aligned.points)


@given(st.lists(LATENCIES, min_size=1, max_size=5))
def test_a_percentile_across_series_is_that_of_all_values(latencies: list[list[float]]) -> None:
    """Reducing merges distributions before it takes a percentile."""
    how = Aggregation(aligner="ALIGN_DELTA", period=60.0, reducer="REDUCE_PERCENTILE_95", group_by=())
    series = [
        Series(
            resource=(),
            metric=(("deployed_model_id", str(number)),),
            kind=Kind.DELTA,
            value_type=ValueType.DISTRIBUTION,
            points=[Point(start=0.0, end=60.0, value=distribution(values))],
        )
        for number, values in enumerate(latencies)
    ]
    (reduced,) = reduce_all(series, how)
    whole = distribution([value for values in latencies for value in values])

    assert reduced.points == [Point(start=60.0, end=60.0, value=whole.percentile(95))]
    assert (reduced.kind, reduced.value_type) == (Kind.GAUGE, ValueType.DOUBLE)
