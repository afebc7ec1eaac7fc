from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxi_ml.modules.domains import YEAR_SECONDS, Domain, least_fare, number_ranges
from taxi_ml.modules.intervals import COVERAGE, LEAST_ROWS, STARTS, Intervals


def test_intervals_cover_new_trips_in_every_band() -> None:
    """Of new trips like the held-out ones, 90 % are inside, whatever the spread and skew of a band."""
    random = np.random.default_rng(11)
    metres = random.choice([-1.0, 0.0, 1500.0, 4000.0, 30_000.0], 40_000)
    errors = random.gamma(2.0, 1 + np.sqrt(np.abs(metres)) / 50) - 2
    found = Intervals.of(metres[:20_000], errors[:20_000])
    low, high = found.around(metres[20_000:]).T
    inside = (errors[20_000:] >= low) & (errors[20_000:] <= high)
    coverage = [inside[metres[20_000:] == band].mean() for band in np.unique(metres)]

    assert coverage == pytest.approx([COVERAGE] * 5, abs=0.02)


def test_few_rows_cover_what_is_promised() -> None:
    """On average over many calibrations of 40 rows, 90 % of new trips are inside, or some more."""
    random = np.random.default_rng(12)
    inside = []
    for _ in range(1000):
        errors = random.standard_t(2, 240)
        low, high = Intervals.of(np.zeros(40), errors[:40]).around(np.zeros(1))[0]
        inside.append(np.mean((errors[40:] >= low) & (errors[40:] <= high)))

    assert COVERAGE - 0.005 < np.mean(inside) < COVERAGE + 0.03


def test_band_of_few_rows_is_as_wide_as_all() -> None:
    """A band with too few rows for its own quantiles takes the wider ends of its own and of all rows."""
    metres = np.array([4000.0] * 100 + [-1.0] * (LEAST_ROWS - 1))
    errors = np.array([*np.linspace(-5, 5, 100), *np.linspace(-1, 20, LEAST_ROWS - 1)])
    low, high = Intervals.of(metres, errors).around(np.array([-1.0]))[0]

    assert low < -3
    assert high == 20


@given(st.lists(st.tuples(st.floats(-1, 1e5), st.floats(-500, 500)), min_size=1, max_size=60))
def test_prediction_is_inside_its_interval(trips: list[tuple[float, float]]) -> None:
    """Whatever the held-out errors, every distance has an interval around 0, which is read as written."""
    metres, errors = np.array(trips).T
    found = Intervals.of(metres, errors)
    ends = found.around(np.array([-1.0, 0.0, 0.5, 1.0, 999.9, 5e3, 1e9]))

    assert (ends[:, 0] <= 0).all()
    assert (ends[:, 1] >= 0).all()
    assert np.isfinite(ends).all()
    assert Intervals.parse(json.loads(json.dumps(found.content))) == found


def test_bands_begin_at_their_starts() -> None:
    """A trip at the start of a band is in it, and one just below is in the band before."""
    for before, start in pairwise(STARTS):
        below = math.nextafter(start, -math.inf)
        found = Intervals.of(np.array([below, start] * 20), np.array([3.0, 7.0] * 20))
        rows = {band.start: band.rows for band in found.bands}

        assert (rows[before], rows[start]) == (20, 20)


def test_no_held_out_trips_are_an_error() -> None:
    """There is no interval without any error to measure."""
    with pytest.raises(ValueError, match="no held-out trips"):
        Intervals.of(np.array([]), np.array([]))


def test_domain_leaves_single_mistakes_out() -> None:
    """The range is that of all but the last thousandth on each side, of known values."""
    values = np.concatenate([np.full(500, -1.0), np.linspace(0, 1000, 9999), [1e6]])

    assert number_ranges({"metres": values}) == {"metres": pytest.approx((1.0, 999.0), abs=0.2)}
    assert number_ranges({"metres": np.full(3, -1.0)}) == {}


def test_lowest_fare_is_that_of_the_last_year() -> None:
    """A fare of an older tariff is no floor."""
    times = np.array([0, 10, YEAR_SECONDS + 9])

    assert least_fare(np.array([2.25, 3.25, 8.0]), times) == 3.25


def test_domain_is_read_as_it_was_written() -> None:
    """Unknown numbers are inside; numbers and categories outside are named."""
    domain = Domain(numbers={"x": (1.0, 2.0)}, categories={"area": frozenset({8, 32})}, least_fare=3.25)
    read = Domain.parse(json.loads(json.dumps(domain.content)))

    assert read == domain
    assert read.outside({"x": -1.0, "area": 8}) == []
    assert read.outside({"x": 2.5, "area": 9}) == ["x", "area"]
