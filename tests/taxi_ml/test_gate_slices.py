"""Slices that are worse than the champion or the baseline."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist
from typing import TYPE_CHECKING

import pytest

from taxi_ml.gate.decision import decide
from taxi_ml.gate.reasons import Reason, ReasonCode
from taxi_ml.gate.slices import SliceTest, rejected, worse_slices
from taxi_ml.splits import Split
from tests.taxi_ml import reports
from tests.taxi_ml.reports import POLICY, a_report, metrics, slice_of

if TYPE_CHECKING:
    from taxi_ml.gate.metrics import Slice
    from taxi_ml.gate.policy import Policy
    from taxi_ml.gate.report import Report


SPLITS = (Split.TRAIN, Split.TEST)


def codes(given_report: Report, policy: Policy = POLICY) -> list[ReasonCode]:
    """Return the codes of the reasons against a report's challenger."""
    return [reason.code for reason in decide(policy, given_report).reasons]


def test_worse_slice_rejects_only_with_enough_rows() -> None:
    """A slice below the policy's rows is reported as undecided."""
    enough = POLICY.slices.min_rows
    large, small = (
        replace(a_report(), slices=(*a_report().slices, _bad_slice(count))) for count in (enough, enough - 1)
    )

    assert codes(large) == [ReasonCode.SLICE_WORSE]
    assert codes(small) == []
    assert decide(POLICY, small).undecided_slices == ("TripStartHour=3",)


def _bad_slice(count: int, half_width: float = 0.5, *, mae: float = 11) -> Slice:
    ours, theirs = metrics(20, mae, count), metrics(20, 9, count)
    return reports.slice_of("TripStartHour", "3", ours, theirs, ours, half_width)


def test_no_slice_has_a_ceiling() -> None:
    """A slice that no model can predict, such as trips of unknown distance, rejects nobody."""
    hard = metrics(40, 12.5, 60)
    part = reports.slice_of("distance_km", "unknown", hard, metrics(40, 12.7, 60), metrics(40, 12.7, 60))

    assert codes(replace(a_report(), slices=(*a_report().slices, part))) == []


def test_slice_worse_than_the_baseline_rejects() -> None:
    """A slice in which the champion is as bad is measured by the baseline."""
    ours = metrics(9, 9, 50)
    part = reports.slice_of("TripStartHour", "3", ours, ours, metrics(6, 6, 50))

    assert codes(replace(a_report(), slices=(*a_report().slices, part))) == [
        ReasonCode.SLICE_WORSE_THAN_BASELINE
    ]


def test_slice_that_may_be_worse_by_chance_does_not_reject() -> None:
    """A slice whose interval reaches below the margin is not certainly worse."""
    part = _bad_slice(50, half_width=1.5)

    assert codes(replace(a_report(), slices=(*a_report().slices, part))) == []


def test_a_small_slice_hides_none_that_follow() -> None:
    """A slice with too few rows is passed over, wherever it stands in the table."""
    small, large = _bad_slice(POLICY.slices.min_rows - 1), _bad_slice(POLICY.slices.min_rows)

    assert codes(replace(a_report(), slices=(*a_report().slices, small, large))) == [ReasonCode.SLICE_WORSE]


def test_the_correction_is_holms() -> None:
    """After the least likely one of two is rejected, the other one stands alone."""
    reason = Reason(
        code=ReasonCode.SLICE_WORSE, metric="mae", slice="TripStartHour=3", observed=1.0, required=""
    )
    tests = [SliceTest(p=chance, reason=reason) for chance in (0.04, 0.02, 0.06)]

    assert list(rejected(tests[:2], 0.05)) == [reason, reason]
    assert list(rejected(tests[1:], 0.05)) == [reason]
    assert list(rejected(tests[:1] * 2, 0.05)) == []


def test_more_slices_need_more_certainty() -> None:
    """A loss that alone would count does not among hundreds, and a certain one counts among any number."""
    chance, certain = _bad_slice(50, half_width=0.7), _bad_slice(50, half_width=0.3)
    usual = metrics(4, 2, 50)
    many = tuple(
        reports.slice_of("pickup_census_tract", str(tract), usual, usual, usual) for tract in range(300)
    )

    assert codes(_sliced(chance)) == [ReasonCode.SLICE_WORSE]
    assert codes(_sliced(chance, *many)) == []
    assert codes(_sliced(certain, *many)) == [ReasonCode.SLICE_WORSE]


def _sliced(*parts: Slice) -> Report:
    return replace(a_report(), slices=(*a_report().slices, *parts))


def test_slice_without_variance_is_judged_by_its_estimate() -> None:
    """A slice in which all rows differ alike is certainly worse above the margin, and not at it."""
    assert codes(_sliced(_bad_slice(50, half_width=0))) == [ReasonCode.SLICE_WORSE]
    assert codes(_sliced(_bad_slice(50, half_width=0, mae=9.9 - 1e-9))) == []


def test_slice_of_just_enough_rows_decides() -> None:
    """A slice with the policy's rows is not among the undecided ones, one with a row less is."""
    enough = POLICY.slices.min_rows
    parts = tuple(_same(count) for count in (enough - 1, enough))
    decision = decide(POLICY, replace(a_report(), slices=(*a_report().slices, *parts)))

    assert decision.undecided_slices == (f"TripStartHour={enough - 1}",)


def _same(count: int) -> Slice:
    usual = metrics(4.0, 2.2, count)
    return slice_of("TripStartHour", str(count), usual, usual, usual)


@pytest.mark.parametrize(("times", "rejects"), [(0.9, False), (1.1, True)])
def test_chance_is_that_of_the_normal_distribution(times: float, rejects: bool) -> None:  # noqa: FBT001  # a case
    """A single slice is worse if an equal one would look so more rarely than `alpha`."""
    part = _bad_slice(50, half_width=1.0)
    assert part.difference is not None
    assert part.difference.mae.error is not None
    by_chance = NormalDist().cdf(-1.1 / part.difference.mae.error)
    policy = replace(POLICY, slices=replace(POLICY.slices, features=(), alpha=times * by_chance))
    report = replace(a_report(), slices=(part,), references=())

    assert bool(list(worse_slices(policy, report))) is rejects


@pytest.mark.parametrize("name", ["estimate", "error"])
def test_slice_without_one_number_of_its_difference_rejects(name: str) -> None:
    """A difference that lacks its estimate or its standard error cannot be judged."""
    part = _same(50)
    assert part.difference is not None
    lacks = replace(part.difference, mae=replace(part.difference.mae, **{name: None}))

    assert codes(_sliced(replace(part, difference=lacks))) == [ReasonCode.METRIC_MISSING]


def test_slice_without_the_champions_error_rejects() -> None:
    """A champion's error that is missing gives no bar to judge by."""
    part = _same(50)
    assert part.champion is not None

    assert codes(_sliced(replace(part, champion=replace(part.champion, mae=None)))) == [
        ReasonCode.METRIC_MISSING
    ]
