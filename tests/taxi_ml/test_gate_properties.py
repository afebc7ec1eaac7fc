"""Properties of the gate for all policies and reports."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxi_ml.gate.decision import Override, Verdict, decide
from taxi_ml.gate.metrics import Interval
from taxi_ml.gate.reasons import ReasonCode
from taxi_ml.splits import Split
from tests.taxi_ml import reports
from tests.taxi_ml.reports import BROKEN, POLICY, USD, a_report, metrics, with_metrics

if TYPE_CHECKING:
    from taxi_ml.gate.metrics import Metrics, Slice
    from taxi_ml.gate.policy import Policy
    from taxi_ml.gate.report import Report


def codes(given_report: Report) -> list[ReasonCode]:
    """Return the codes of the reasons against a report's challenger."""
    return [reason.code for reason in decide(POLICY, given_report).reasons]


@given(reports.policies(), reports.reports())
def test_decision_is_total(policy: Policy, given_report: Report) -> None:
    """Every report gets a decision: promoted without a reason, or rejected with one."""
    decision = decide(policy, given_report)

    assert (decision.verdict is Verdict.PROMOTE) == (decision.reasons == ())
    assert json.loads(decision.to_json())["verdict"] == decision.verdict
    assert decision.describe()


@given(reports.reports(with_champion=False), USD, BROKEN, st.sampled_from(["rmse", "mae"]))
def test_broken_metric_never_promotes(
    given_report: Report, sound: float, broken: float | None, metric: str
) -> None:
    """A metric of the challenger that is missing or not finite rejects, even with an override."""
    rmse, mae = (broken, sound) if metric == "rmse" else (sound, broken)
    ours = metrics(rmse, mae, given_report.rows.test)
    challenger = replace(given_report.challenger, metrics=ours)
    override = Override(reason="trust me", codes=frozenset(ReasonCode) - NEVER_OVERRIDDEN)
    decision = decide(POLICY, replace(given_report, challenger=challenger), override)

    assert decision.verdict is Verdict.REJECT


@given(
    reports.reports(with_champion=True),
    st.sampled_from(["rmse", "mae"]),
    st.sampled_from(["estimate", "low", "high"]),
    BROKEN,
)
def test_broken_interval_never_promotes(
    given_report: Report, metric: str, end: str, broken: float | None
) -> None:
    """A comparison with a number missing or not finite rejects."""
    if given_report.difference is None:
        pytest.fail("the report compares")
    part: Interval = getattr(given_report.difference, metric)
    difference = replace(given_report.difference, **{metric: replace(part, **{end: broken})})

    assert ReasonCode.METRIC_MISSING in codes(replace(given_report, difference=difference))


@given(reports.policies(), reports.reports(), st.data())
def test_improving_never_turns_promote_into_reject(
    policy: Policy, given_report: Report, data: st.DataObject
) -> None:
    """Lower errors of the challenger, overall and in slices, add no reason."""
    better = _improved(given_report, data)
    before = {(reason.code, reason.metric, reason.slice) for reason in decide(policy, given_report).reasons}
    after = {(reason.code, reason.metric, reason.slice) for reason in decide(policy, better).reasons}

    assert after <= before


def _improved(given_report: Report, data: st.DataObject) -> Report:
    def less(of: Metrics) -> tuple[Metrics, float, float]:
        rmse = data.draw(st.floats(0, of.rmse or 0))
        mae = data.draw(st.floats(0, of.mae or 0))
        return replace(of, rmse=rmse, mae=mae), (of.rmse or 0) - rmse, (of.mae or 0) - mae

    ours, rmse, mae = less(given_report.challenger.metrics)
    found = given_report.difference
    return replace(
        given_report,
        challenger=replace(given_report.challenger, metrics=ours),
        difference=found and replace(found, rmse=_lower(found.rmse, rmse), mae=_lower(found.mae, mae)),
        slices=tuple(_improved_slice(part, *less(part.challenger)) for part in given_report.slices),
    )


def _improved_slice(part: Slice, ours: Metrics, rmse: float, mae: float) -> Slice:
    found = part.difference
    return replace(
        part,
        challenger=ours,
        difference=found and replace(found, rmse=_lower(found.rmse, rmse), mae=_lower(found.mae, mae)),
    )


def _lower(of: Interval, amount: float) -> Interval:
    return Interval(
        estimate=(of.estimate or 0) - amount, low=(of.low or 0) - amount, high=(of.high or 0) - amount
    )


@given(reports.policies(), reports.reports(), st.data())
def test_raising_a_bar_never_turns_reject_into_promote(
    policy: Policy, given_report: Report, data: st.DataObject
) -> None:
    """A stricter policy has all the reasons of the milder one."""
    stricter = _stricter(policy, data)
    before = {(reason.code, reason.metric, reason.slice) for reason in decide(policy, given_report).reasons}
    after = {(reason.code, reason.metric, reason.slice) for reason in decide(stricter, given_report).reasons}

    assert before <= after


def _stricter(policy: Policy, data: st.DataObject) -> Policy:
    def below(value: float, least: float = 0.0) -> float:
        return data.draw(st.floats(min(least, value), value))

    def more(value: int) -> int:
        return data.draw(st.integers(value, value + 1000))

    rules, rows = policy.regression, policy.min_rows
    return replace(
        policy,
        require_blessing=policy.require_blessing or data.draw(st.booleans()),
        require_tuner=policy.require_tuner or data.draw(st.booleans()),
        min_rows=replace(rows, train=more(rows.train), eval=more(rows.eval), test=more(rows.test)),
        max_usd=replace(
            policy.max_usd, rmse=below(policy.max_usd.rmse, 0.001), mae=below(policy.max_usd.mae, 0.001)
        ),
        regression=replace(
            rules,
            rmse=replace(
                rules.rmse,
                significant=below(rules.rmse.significant),
                estimate=below(rules.rmse.estimate),
            ),
            mae=replace(
                rules.mae, significant=below(rules.mae.significant), estimate=below(rules.mae.estimate)
            ),
        ),
        slices=replace(
            policy.slices,
            features=reports.POLICY.slices.features,
            min_rows=data.draw(st.integers(1, policy.slices.min_rows)),
            max_mae=below(policy.slices.max_mae, 0.001),
            regression_mae=below(policy.slices.regression_mae),
        ),
        anomalies=replace(policy.anomalies, splits=frozenset(Split), tolerated_kinds=frozenset()),
        drift=replace(
            policy.drift,
            required=policy.drift.required or data.draw(st.booleans()),
            splits=frozenset(Split),
            ignored_features=frozenset(),
            max_distance=below(policy.drift.max_distance, 0.001),
            max_new_share=below(policy.drift.max_new_share, 0.001),
        ),
    )


@given(reports.reports(with_champion=True))
def test_swapping_swaps_the_comparison(given_report: Report) -> None:
    """At most one of two models is significantly worse; swapping them swaps the result."""
    back = reports.swapped(given_report)
    there_and_back = reports.swapped(back)

    assert _certainly_worse(given_report).isdisjoint(_certainly_worse(back))
    assert codes(there_and_back) == codes(given_report)
    assert there_and_back.difference == given_report.difference


def _certainly_worse(given_report: Report) -> set[str]:
    reasons = decide(POLICY, given_report).reasons
    return {reason.metric for reason in reasons if reason.code is ReasonCode.SIGNIFICANTLY_WORSE}


@pytest.mark.parametrize("name", ["rmse", "mae"])
def test_significance_is_one_sided(name: str) -> None:
    """The certainly worse model of a pair is rejected, the certainly better one is not."""
    worse = with_metrics(a_report(), metrics(5.2, 2.4) if name == "rmse" else metrics(4.4, 3.2))

    assert ReasonCode.SIGNIFICANTLY_WORSE in codes(worse)
    assert codes(reports.swapped(worse)) == []
