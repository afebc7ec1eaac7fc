"""Margins against the champion and the references, and the power of a comparison."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from taxi_ml.gate.decision import decide
from taxi_ml.gate.margins import ceilings
from taxi_ml.gate.metrics import Role
from taxi_ml.gate.reasons import ReasonCode
from taxi_ml.gate.report import parse
from taxi_ml.splits import Split
from tests.taxi_ml import reports
from tests.taxi_ml.reports import POLICY, a_report, metrics, with_metrics

if TYPE_CHECKING:
    from taxi_ml.gate.policy import Policy
    from taxi_ml.gate.report import Report


SPLITS = (Split.TRAIN, Split.TEST)


def codes(given_report: Report, policy: Policy = POLICY) -> list[ReasonCode]:
    """Return the codes of the reasons against a report's challenger."""
    return [reason.code for reason in decide(policy, given_report).reasons]


@pytest.mark.parametrize("metric", ["mae", "clipped_rmse"])
def test_the_upper_end_decides(metric: str) -> None:
    """A difference passes up to the margin, a fraction of the champion's error, and not beyond."""
    theirs = {"mae": 2.45, "clipped_rmse": 4.5}[metric]
    bar = getattr(POLICY.margin, metric) * theirs

    assert codes(_with_high(metric, bar)) == []
    assert codes(_with_high(metric, math.nextafter(bar, math.inf))) == [ReasonCode.ABOVE_MARGIN]


def _with_high(metric: str, high: float) -> Report:
    given_report = a_report()
    if given_report.difference is None:
        pytest.fail("the report compares")
    part = replace(getattr(given_report.difference, metric), high=high)
    return replace(given_report, difference=replace(given_report.difference, **{metric: part}))


def test_margins_mean_the_same_for_any_fares() -> None:
    """A report in another currency, with all amounts a hundred times as large, has the same verdict."""
    wide = replace(POLICY, max_usd=replace(POLICY.max_usd, rmse=1e6, mae=1e6))
    for challenger in (metrics(4.4, 2.4), metrics(4.5, 2.6)):
        given_report = with_metrics(a_report(), challenger)

        assert codes(_in_cents(given_report), wide) == codes(given_report, wide)


def _in_cents(given_report: Report) -> Report:
    document = json.loads(given_report.to_json())
    for place in (document["challenger"], document["champion"], *document["references"], document):
        for part in [place.get("metrics") or {}, *(place.get("difference") or {}).values()]:
            part.update({name: 100 * value for name, value in part.items() if isinstance(value, float)})
    return parse(json.dumps(document))


def test_worse_in_any_reference_rejects() -> None:
    """A challenger as good as a champion that lost slowly is still measured by the others."""
    ours = metrics(4.5, 2.45)
    for role, code in (
        (Role.BASELINE, ReasonCode.ABOVE_BASELINE_MARGIN),
        (Role.ANCHOR, ReasonCode.ABOVE_ANCHOR_MARGIN),
    ):
        better = reports.reference(role, ours, metrics(4.5, 2.1))

        assert codes(replace(with_metrics(a_report(), ours), references=(better,))) == [code]


def test_baseline_is_required_where_the_policy_says_so() -> None:
    """A report without a baseline rejects only if the policy requires one."""
    without = replace(
        a_report(),
        references=(),
        slices=tuple(replace(part, baseline=None, baseline_difference=None) for part in a_report().slices),
    )
    strict, mild = (
        replace(POLICY, baseline=replace(POLICY.baseline, required=required)) for required in (True, False)
    )

    assert (codes(without, strict), codes(without, mild)) == ([ReasonCode.BASELINE_MISSING], [])


@pytest.mark.parametrize(
    ("half_width", "power", "rows_needed"),
    [(0.03, 0.893, 307), (0.06, 0.360, 1226), (0.0, 1.0, 1), (0.3, 0.051, 30_635)],
)
def test_decision_says_its_power(half_width: float, power: float, rows_needed: int) -> None:
    """An equal model passes 2 % of 2.45 USD with this probability on 400 rows; 80 % needs so many."""
    given_report = a_report()
    if given_report.champion is None:
        pytest.fail("the report compares")
    difference = reports.compared(given_report.challenger.metrics, given_report.champion.metrics, half_width)
    decision = decide(POLICY, replace(given_report, difference=difference))

    assert decision.power == pytest.approx(power, abs=0.001)
    assert decision.rows_needed == rows_needed
    assert [reason.code for reason in decision.warnings] == [ReasonCode.LOW_POWER] * (power < 0.8)
    assert f"; {rows_needed} rows give 80%" in decision.describe()


def test_no_number_of_rows_helps_without_a_margin() -> None:
    """An equal model passes a margin of 0 in 2.5 % of all comparisons, however many rows there are."""
    strict = replace(POLICY, margin=replace(POLICY.margin, mae=0.0))
    decision = decide(strict, a_report())

    assert decision.power == pytest.approx(0.025, abs=1e-6)
    assert decision.rows_needed is None
    assert "no number of rows gives 80%" in decision.describe()
    assert [reason.required for reason in decision.warnings if reason.code is ReasonCode.LOW_POWER] == [
        "0.8, which needs a margin above 0: give more test months"
    ]


def test_without_a_comparison_there_is_no_power() -> None:
    """A first model, and a comparison without a standard error, have none."""
    compared = reports.compared(metrics(4.4, 2.4), metrics(4.5, 2.45))
    compared = replace(compared, mae=replace(compared.mae, error=None))
    for given_report in (a_report(with_champion=False), replace(a_report(), difference=compared)):
        decision = decide(POLICY, given_report)

        assert (decision.power, decision.rows_needed) == (None, None)


def test_a_model_at_its_ceiling_is_within_it() -> None:
    """The bar itself is allowed, and an error that is missing is named."""
    ours = a_report().challenger.metrics
    assert ours.mae is not None
    assert ours.rmse is not None
    policy = replace(POLICY, max_usd=replace(POLICY.max_usd, mae=ours.mae, rmse=ours.rmse))
    without = replace(a_report().challenger, metrics=replace(ours, mae=None))

    assert list(ceilings(policy, a_report())) == []
    assert [reason.metric for reason in ceilings(policy, replace(a_report(), challenger=without))] == ["mae"]
