"""Properties of the gate for all policies and reports."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxi_ml.gate import policy as policy_of
from taxi_ml.gate.decision import Override, Verdict, decide
from taxi_ml.gate.margins import is_better
from taxi_ml.gate.metrics import Role
from taxi_ml.gate.reasons import OVERRIDABLE, ReasonCode
from taxi_ml.gate.report import Challenger, ScoredChampion
from taxi_ml.splits import Split
from taxi_ml.sql.counts import SplitCounts
from tests.taxi_ml import reports
from tests.taxi_ml.reports import BROKEN, POLICY, USD, a_report, metrics, with_metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from taxi_ml.gate.distributions import Drift
    from taxi_ml.gate.metrics import Difference, Interval, Metrics, Slice
    from taxi_ml.gate.policy import Policy
    from taxi_ml.gate.report import Report


def codes(given_report: Report) -> list[ReasonCode]:
    """Return the codes of the reasons against a report's challenger."""
    return [reason.code for reason in decide(POLICY, given_report).reasons]


@given(reports.policies(), reports.reports())
def test_decision_is_total(policy: Policy, given_report: Report) -> None:
    """Every report gets a decision: unchanged, promoted without a reason, or rejected with one."""
    decision = decide(policy, given_report)

    assert (decision.verdict is Verdict.UNCHANGED) == given_report.unchanged
    assert given_report.unchanged or (decision.verdict is Verdict.PROMOTE) == (decision.reasons == ())
    assert json.loads(decision.to_json())["verdict"] == decision.verdict
    assert decision.describe()


@given(reports.reports(with_champion=False), USD, BROKEN, st.sampled_from(["rmse", "mae"]))
def test_broken_metric_never_promotes(
    given_report: Report, sound: float, broken: float | None, metric: str
) -> None:
    """A metric of the challenger that is missing or not finite rejects, even with an override."""
    rmse, mae = (broken, sound) if metric == "rmse" else (sound, broken)
    ours = replace(metrics(rmse, mae, given_report.rows.test), clipped_rmse=sound)
    challenger = replace(given_report.challenger, metrics=ours)
    override = Override(reason="trust me", codes=OVERRIDABLE)
    decision = decide(POLICY, replace(given_report, challenger=challenger, references=()), override)

    assert decision.verdict is Verdict.REJECT


@given(
    reports.reports(with_champion=True),
    st.sampled_from(["clipped_rmse", "mae"]),
    st.sampled_from(["estimate", "low", "high"]),
    BROKEN,
)
def test_broken_interval_never_promotes(
    given_report: Report, metric: str, end: str, broken: float | None
) -> None:
    """A comparison with a number missing or not finite is a reason that nobody can override."""
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
    ours, less = _less(given_report.challenger.metrics, data)
    return replace(
        given_report,
        challenger=replace(given_report.challenger, metrics=ours),
        difference=less(given_report.difference),
        references=tuple(replace(each, difference=less(each.difference)) for each in given_report.references),
        slices=tuple(_improved_slice(part, data) for part in given_report.slices),
    )


def _improved_slice(part: Slice, data: st.DataObject) -> Slice:
    ours, less = _less(part.challenger, data)
    return replace(
        part,
        challenger=ours,
        difference=less(part.difference),
        baseline_difference=less(part.baseline_difference),
    )


def _less(
    of: Metrics, data: st.DataObject
) -> tuple[Metrics, Callable[[Difference | None], Difference | None]]:
    """Return lower errors, and how they lower a difference from another model."""
    rmse, mae = (data.draw(st.floats(0, error or 0)) for error in (of.rmse, of.mae))
    fewer = {"rmse": (of.rmse or 0) - rmse, "clipped_rmse": (of.rmse or 0) - rmse, "mae": (of.mae or 0) - mae}

    def less(found: Difference | None) -> Difference | None:
        return found and replace(
            found, **{name: _lower(getattr(found, name), amount) for name, amount in fewer.items()}
        )

    return replace(of, rmse=rmse, clipped_rmse=rmse, mae=mae), less


def _lower(of: Interval, amount: float) -> Interval:
    return replace(
        of,
        estimate=(of.estimate or 0) - amount,
        low=(of.low or 0) - amount,
        high=(of.high or 0) - amount,
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

    rows, slices = policy.min_rows, policy.slices
    return replace(
        policy,
        require_blessing=policy.require_blessing or data.draw(st.booleans()),
        require_tuner=policy.require_tuner or data.draw(st.booleans()),
        min_rows=replace(rows, train=more(rows.train), eval=more(rows.eval), test=more(rows.test)),
        max_usd=replace(
            policy.max_usd, rmse=below(policy.max_usd.rmse, 0.001), mae=below(policy.max_usd.mae, 0.001)
        ),
        margin=policy_of.ChampionMargins(
            mae=below(policy.margin.mae),
            clipped_rmse=below(policy.margin.clipped_rmse),
            better=policy.margin.better + data.draw(st.floats(0, 1)),
        ),
        baseline=policy_of.BaselineMargins(
            mae=below(policy.baseline.mae),
            clipped_rmse=below(policy.baseline.clipped_rmse),
            required=policy.baseline.required or data.draw(st.booleans()),
        ),
        anchor=policy_of.Margins(
            mae=below(policy.anchor.mae), clipped_rmse=below(policy.anchor.clipped_rmse)
        ),
        # Fewer rows for a slice are not stricter: among more slices, each must be worse to count.
        slices=replace(
            slices,
            features=reports.POLICY.slices.features,
            alpha=data.draw(st.floats(slices.alpha, 1)),
            champion=below(slices.champion),
            baseline=below(slices.baseline),
        ),
        anomalies=replace(policy.anomalies, splits=frozenset(Split), tolerated_kinds=frozenset()),
        skew=replace(
            policy.skew,
            splits=frozenset(Split),
            ignored_features=frozenset(),
            max_distance=below(policy.skew.max_distance, 0.001),
            max_new_share=below(policy.skew.max_new_share, 0.001),
        ),
    )


@given(reports.reports(with_champion=True))
def test_swapping_swaps_the_comparison(given_report: Report) -> None:
    """At most one of two models is certainly better; swapping them twice changes nothing."""
    back = reports.swapped(given_report)
    there_and_back = reports.swapped(back)

    assert not (is_better(POLICY, given_report) and is_better(POLICY, back))
    assert there_and_back.difference == given_report.difference
    assert codes(reports.swapped(there_and_back)) == codes(back)


@pytest.mark.parametrize("name", ["clipped_rmse", "mae"])
def test_the_margin_is_one_sided(name: str) -> None:
    """The certainly worse model of a pair is rejected, the certainly better one is not."""
    worse = with_metrics(a_report(), metrics(5.2, 2.45) if name == "clipped_rmse" else metrics(4.4, 3.2))
    (reason,) = [each for each in decide(POLICY, worse).reasons if each.code is ReasonCode.ABOVE_MARGIN]

    assert reason.metric.startswith(f"{name}: ")
    assert codes(reports.swapped(worse)) == []


@given(reports.reports(with_champion=True), st.lists(reports.DRIFTS, max_size=3))
def test_drift_decides_nothing(given_report: Report, drift: list[Drift]) -> None:
    """Whatever the champion learned from, the verdict is that of the errors on the same rows."""
    drifted = replace(given_report, drift=tuple(drift))

    assert decide(POLICY, drifted).reasons == decide(POLICY, given_report).reasons


@given(reports.policies(), st.data())
def test_nobody_waits_for_a_better_model(policy: Policy, data: st.DataObject) -> None:
    """A challenger that is certainly better by more than the margin is promoted in its first run.

    Neither the champion's training, the distance of the months from each other, the other models nor slices
    can keep a worse model in production.
    """
    for _ in range(data.draw(st.integers(1, 4))):
        given_report = _better_by_the_margin(data.draw(reports.reports(with_champion=True)), policy, data)

        assert decide(policy, given_report).verdict is Verdict.PROMOTE


def _better_by_the_margin(given_report: Report, policy: Policy, data: st.DataObject) -> Report:
    """Return the report of complete data in which the challenger is better by more than the margin."""
    mae = data.draw(st.floats(1, 30))
    theirs = metrics(mae * data.draw(st.floats(1, 3)), mae, 3000)
    rate = data.draw(st.floats(0, 1 - policy.margin.better - 0.01))
    ours = metrics((theirs.rmse or 0) * rate, (theirs.mae or 0) * rate, 3000)
    return replace(
        given_report,
        challenger=replace(given_report.challenger, metrics=ours),
        rows=SplitCounts(train=3000, eval=3000, test=3000),
        champion=ScoredChampion(name=reports.CHAMPION_NAME, uri=reports.CHAMPION, metrics=theirs),
        difference=reports.compared(ours, theirs, half_width=0.009 * mae),
        references=tuple(reports.reference(role, ours, metrics(0.1, 0.1, 3000)) for role in Role),
        slices=tuple(
            reports.slice_of(name, "x", ours, metrics(0.1, 0.1, 3000), metrics(0.1, 0.1, 3000))
            for name in POLICY.slices.features
        ),
        unchanged=False,
        anomalies=(),
        blessed=True,
        tuner=a_report().tuner,
    )


@given(st.lists(st.floats(-0.01, 0.05), min_size=1, max_size=40))
def test_no_chain_of_small_losses_passes(losses: list[float]) -> None:
    """Whatever each model loses, none serves that lost more than the references allow.

    Errors are known exactly, the baseline stays the same, and the anchor is the best of the last twelve
    champions, one of which is replaced in each run at most.
    """
    baseline = 2.0
    champions = [baseline]
    for loss in losses:
        ours = champions[-1] * (1 + loss)
        if decide(POLICY, _month(ours, champions, baseline)).verdict is Verdict.PROMOTE:
            champions.append(ours)

    for month, mae in enumerate(champions):
        assert mae <= baseline * (1 + POLICY.baseline.mae) * (1 + 1e-9)
        assert mae <= min(champions[max(0, month - 12) : month + 1]) * (1 + POLICY.anchor.mae) * (1 + 1e-9)


def _month(ours: float, champions: list[float], baseline: float) -> Report:
    """Return the report of a model with this MAE, in USD, and an RMSE that is as large."""
    best = min(champions[-12:])
    models = {name: metrics(mae, mae) for name, mae in (("ours", ours), ("theirs", champions[-1]))}
    return replace(
        a_report(),
        challenger=Challenger(uri=reports.CHALLENGER, metrics=models["ours"]),
        champion=ScoredChampion(name="m", uri=reports.CHAMPION, metrics=models["theirs"]),
        difference=reports.compared(models["ours"], models["theirs"], half_width=0),
        references=(
            reports.reference(Role.BASELINE, models["ours"], metrics(baseline, baseline), 0),
            reports.reference(Role.ANCHOR, models["ours"], metrics(best, best), 0),
        ),
    )
