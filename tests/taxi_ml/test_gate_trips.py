"""Drift, which warns, and skew, which rejects."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from taxi_ml.gate.decision import decide
from taxi_ml.gate.reasons import ReasonCode
from taxi_ml.splits import Split
from tests.taxi_ml import reports
from tests.taxi_ml.reports import POLICY, a_report

if TYPE_CHECKING:
    from taxi_ml.gate.policy import Policy
    from taxi_ml.gate.report import Report


SPLITS = (Split.TRAIN, Split.TEST)


def codes(given_report: Report, policy: Policy = POLICY) -> list[ReasonCode]:
    """Return the codes of the reasons against a report's challenger."""
    return [reason.code for reason in decide(policy, given_report).reasons]


def warned(given_report: Report, policy: Policy = POLICY) -> list[ReasonCode]:
    """Return the codes of the warnings about a report's challenger, which must not be rejected."""
    decision = decide(policy, given_report)
    if decision.reasons:
        pytest.fail(f"rejected: {decision.describe()}")
    return [reason.code for reason in decision.warnings]


def test_drift_only_warns() -> None:
    """Trips unlike those that the champion learned from warn, with the distance and its bar."""
    bar = POLICY.drift.max_distance
    far, near = (replace(a_report(), drift=(reports.drift(distance),)) for distance in (bar + 0.01, bar))
    (reason,) = decide(POLICY, far).warnings

    assert reason.code is ReasonCode.DATA_DRIFT
    assert reason.metric == "train pickup_census_tract linf from the champion's training"
    assert (reason.observed, reason.required) == (bar + 0.01, f"at most {bar:g}")
    assert (warned(far), warned(near)) == ([ReasonCode.DATA_DRIFT], [])


def test_new_categories_are_tolerated_up_to_the_bar() -> None:
    """A few areas that the champion does not know are not worth a warning, many are."""
    bar = POLICY.drift.max_new_share
    many, few = (replace(a_report(), drift=(reports.drift(0.0, share),)) for share in (bar + 0.01, bar))
    (reason,) = decide(POLICY, many).warnings

    assert reason.metric == "train pickup_census_tract new categories from the champion's training"
    assert (warned(many), warned(few)) == ([ReasonCode.DATA_DRIFT], [])


@pytest.mark.parametrize("broken", [None, float("nan"), float("inf")])
def test_distance_that_is_not_a_number_is_named(broken: float | None) -> None:
    """An unknown distance from the champion's training warns, one from the challenger's own rejects."""
    train, test = (
        (reports.drift(broken, split=split), reports.drift(0.0, broken, split)) for split in SPLITS
    )

    assert warned(replace(a_report(), drift=train)) == [ReasonCode.METRIC_MISSING] * 2
    assert codes(replace(a_report(), skew=test)) == [ReasonCode.METRIC_MISSING] * 2


def test_drift_counts_only_where_the_policy_looks() -> None:
    """Other splits and ignored features are in the report and nothing else."""
    elsewhere = reports.drift(0.9, split=Split.EVAL)
    ignored = replace(reports.drift(0.9), feature=next(iter(POLICY.drift.ignored_features)))

    assert warned(replace(a_report(), drift=(elsewhere, ignored), skew=(elsewhere, ignored))) == []


def test_model_that_does_not_say_what_it_learned_from_warns() -> None:
    """Unknown drift and skew are worth a warning; without a champion there is no drift."""
    assert warned(replace(a_report(), drift=())) == [ReasonCode.DRIFT_MISSING]
    assert warned(replace(a_report(), skew=())) == [ReasonCode.SKEW_MISSING]
    assert warned(a_report(with_champion=False)) == []


def test_skew_rejects_beyond_the_bar() -> None:
    """Test trips unlike those that the challenger itself learned from reject."""
    bar = POLICY.skew.max_distance
    far, near = (
        replace(a_report(), skew=(reports.drift(distance, split=Split.TEST),))
        for distance in (bar + 0.01, bar)
    )
    (reason,) = decide(POLICY, far).reasons

    assert reason.metric == "test pickup_census_tract linf from its own training"
    assert (codes(far), codes(near)) == ([ReasonCode.DATA_SKEW], [])


def test_what_is_ignored_hides_nothing_after_it() -> None:
    """A feature that is far away warns, also where the report lists an ignored one before it."""
    far = reports.drift(POLICY.drift.max_distance + 0.01)
    ignored = replace(far, feature=min(POLICY.drift.ignored_features))

    assert warned(replace(a_report(), drift=(ignored, far))) == [ReasonCode.DATA_DRIFT]
