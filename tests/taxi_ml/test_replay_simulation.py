from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taxi_ml.gate import policy
from taxi_ml.gate.decision import Verdict
from taxi_ml.gate.metrics import Role
from taxi_ml.gate.reasons import ReasonCode
from taxi_ml.replay.comparison import compare
from taxi_ml.replay.contest import Contest, Reports, report_of, skill
from taxi_ml.replay.policies import ALWAYS, BETTER_ONLY, NEVER, SHIPPED, Policy, always, of_text, standard
from taxi_ml.replay.simulation import hindsight, simulate, users
from taxi_ml.replay.stored import BASELINE, Stored, StoredError
from tests.taxi_ml.replays import fault, stored, window

if TYPE_CHECKING:
    from taxi_ml.replay.simulation import Chain

NAMES = (SHIPPED, ALWAYS, NEVER, BETTER_ONLY)
NOISE = (1.0, 0.8, 1.5, 0.7, 0.9)
MONTHS = stored(NOISE)


def named(name: str) -> Policy:
    """Return a standard policy."""
    return next(each for each in standard() if each.name == name)


def chain(name: str, months: Stored = MONTHS) -> Chain:
    """Return what a standard policy does."""
    return simulate(months, named(name), Reports())


def served(found: Chain) -> list[str]:
    """Return the model that serves after each month."""
    return [each for step in found.steps for each in step.serves]


def mae(found: Chain) -> float:
    """Return the MAE of all users, USD."""
    return float(np.abs(found.errors).mean())


def test_never_serves_the_first_model() -> None:
    """A policy that rejects everything keeps what served first."""
    assert served(chain(NEVER)) == [window(0)] * len(NOISE)


def test_always_serves_the_newest_model() -> None:
    """A policy that promotes everything serves each month's own model."""
    assert served(chain(ALWAYS)) == [window(number) for number in range(len(NOISE))]


def test_better_only_follows_the_point_estimate() -> None:
    """The model of the third month is clearly worse on its test rows, and is skipped."""
    found = chain(BETTER_ONLY)

    assert [step.verdict for step in found.steps][:3] == [None, Verdict.PROMOTE, Verdict.REJECT]
    assert served(found)[2] == window(1)


def test_the_gate_says_why_it_rejects() -> None:
    """The third model is worse than the champion by more than the margin, in the gate's own words."""
    step = chain(SHIPPED).steps[2]

    assert step.verdict is Verdict.REJECT
    assert ReasonCode.ABOVE_MARGIN in {reason.code for reason in step.reasons}


def test_users_meet_the_model_of_the_month_before() -> None:
    """The error of a month's decision is that on the following month's trips, none after the last."""
    steps = chain(ALWAYS).steps
    after = MONTHS.months[1]

    assert steps[0].errors.tolist() == (after.predictions[window(0)] - after.rows.fares).tolist()
    assert len(steps[-1].errors) == 0


def test_trips_that_were_judged_before_are_nobodys() -> None:
    """Where test months overlap, only the following month's new trips count."""
    first, second = MONTHS.months[:2]
    days = second.rows.days.copy()
    days[:10] = first.rows.days[:10]
    overlapping = replace(second, rows=replace(second.rows, days=days))

    found = users(Stored(months=(first, overlapping)))

    assert [len(trips.fares) for trips in found] == [len(days) - 10]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.2, 3.0), min_size=2, max_size=5), st.integers(0, 99))
def test_hindsight_is_never_beaten(noise: list[float], seed: int) -> None:
    """No policy that serves one model has a lower MAE in any month than the best model had."""
    months = stored(noise, rows=40, seed=seed)
    best = hindsight(months)

    for name in NAMES:
        for ours, theirs in zip(best.steps, chain(name, months).steps, strict=True):
            assert np.abs(ours.errors).sum() <= np.abs(theirs.errors).sum()


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 99))
def test_policies_are_deterministic(seed: int) -> None:
    """The same predictions give the same decisions, with new reports or with those of other policies."""
    months = stored(NOISE[:3], rows=100, seed=seed)
    shared = Reports()

    again = [simulate(months, each, shared) for each in standard()]

    assert [served(each) for each in again] == [served(chain(each.name, months)) for each in standard()]


def test_a_policy_of_ones_own_has_a_name_of_its_own() -> None:
    """A file with the name of a standard policy keeps apart from it."""
    text = policy.DEFAULT_PATH.read_text()

    assert of_text("strict", text).name == "strict"
    assert of_text(SHIPPED, text).name == "shipped.toml"


def test_the_mean_of_three_is_what_is_judged_and_served() -> None:
    """With three models serving, users get the mean of the last three that were approved."""
    found = simulate(MONTHS, Policy(name="mean", rule=always, serves=3), Reports())
    after = MONTHS.months[4]
    mean = np.mean([after.predictions[window(number)] for number in (1, 2, 3)], axis=0)

    assert found.steps[3].serves == (window(1), window(2), window(3))
    assert found.steps[3].errors == pytest.approx(mean - after.rows.fares)
    assert mae(found) < mae(chain(ALWAYS))


def contest(*, anchor: tuple[str, ...] = ()) -> Contest:
    """Return the choice of the third month between its model and the second's."""
    return Contest(month=MONTHS.months[2], challenger=(window(2),), champion=(window(1),), anchor=anchor)


def test_the_report_compares_the_models_of_the_contest() -> None:
    """Challenger, champion, baseline and anchor are scored on the month's rows; the rest is the run's own."""
    report = report_of(contest(anchor=(window(0),)))
    rows = MONTHS.months[2].rows
    theirs = float(np.abs(MONTHS.months[2].predictions[window(1)] - rows.fares).mean())
    assert report.champion is not None

    assert report.champion.metrics.mae == pytest.approx(theirs)
    assert [each.role for each in report.references] == [Role.BASELINE, Role.ANCHOR]
    assert (report.window, report.rows) == (window(2), MONTHS.months[2].judged.report.rows)
    assert {part.feature for part in report.slices} == set(rows.slicing)
    assert not report.unchanged


def test_without_predictions_of_the_baseline_the_runs_own_comparison_counts() -> None:
    """A run has compared its own model with the baseline, whatever the champion."""
    month = MONTHS.months[2]
    kept = {name: values for name, values in month.predictions.items() if name != BASELINE}
    bare = replace(month, judged=replace(month.judged, predictions=kept))

    report = report_of(replace(contest(), month=bare))

    assert report.references == month.judged.report.references


def test_the_anchor_is_the_champion_farthest_below_its_baseline() -> None:
    """Skill is a model's MAE over its baseline's on its own test rows; the fourth model has the lowest."""
    seen: list[tuple[str, ...]] = []

    def watching(each: Contest, reports: Reports) -> object:
        seen.append(each.anchor)
        return always(each, reports)

    simulate(MONTHS, Policy(name="watching", rule=watching), Reports())  # type: ignore[arg-type]  # an Outcome
    skills = {month.id: skill(month) or 9.0 for month in MONTHS.months}
    best = [
        min((window(number) for number in range(place)), key=skills.__getitem__)
        for place in range(1, len(NOISE))
    ]

    assert seen == [(each,) for each in best]


def test_a_broken_model_reaches_those_who_promote_it() -> None:
    """A fault changes what is judged in its month, and what its model predicts later."""
    broken = fault(MONTHS, 2, usd=5.0)
    months = MONTHS.with_fault(broken)

    assert chain(SHIPPED, months).steps[2].verdict is Verdict.REJECT
    assert mae(chain(ALWAYS, months)) > mae(chain(ALWAYS)) + 0.5
    assert mae(chain(SHIPPED, months)) == pytest.approx(mae(chain(SHIPPED)), abs=0.05)


def test_intervals_are_of_days() -> None:
    """Every policy has an interval around its estimate, and none for the difference from itself."""
    chains = [chain(name) for name in NAMES]
    found = compare(chains, users(MONTHS), reference=ALWAYS, seed=1)
    reference = found[ALWAYS].against

    assert (reference.low, reference.estimate, reference.high) == (0, 0, 0)
    for each in chains:
        estimate = found[each.policy].mae
        assert estimate.estimate == pytest.approx(mae(each))
        assert estimate.low < estimate.estimate < estimate.high


def test_a_day_counts_as_a_whole() -> None:
    """If all trips of a day err alike, the interval is as wide as the days say, not as the trips do."""
    months = stored((1.0, 1.0), rows=280)
    (trips,) = users(months)
    steady = simulate(months, named(NEVER), Reports())
    by_day = replace(steady.steps[0], errors=(trips.days % 7).astype(float))
    alike = replace(steady, steps=(by_day, *steady.steps[1:]))
    shuffled = np.random.default_rng(0).permutation(by_day.errors)
    mixed = replace(steady, steps=(replace(by_day, errors=shuffled), *steady.steps[1:]))

    wide, narrow = (compare([each], [trips], reference=NEVER, seed=1)[NEVER].mae for each in (alike, mixed))

    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


@pytest.mark.parametrize(
    ("months", "problem"),
    [
        (MONTHS.months[:1], "needs two months or more in order"),
        (MONTHS.months[::-1], "needs two months or more in order"),
        ((MONTHS.months[0], replace(MONTHS.months[1], predictions={})), "has 400 rows and 0 predictions"),
    ],
)
def test_months_that_cannot_be_replayed_are_refused(months: tuple[object, ...], problem: str) -> None:
    """One month has no following one; every model needs a prediction for every later row."""
    with pytest.raises(StoredError, match=problem):
        Stored(months=months)  # type: ignore[arg-type]  # parametrized


def test_a_part_of_the_months_can_be_replayed() -> None:
    """Months are cut by the end of their windows, and faults with them."""
    all_of_it = replace(MONTHS, faults=(fault(MONTHS, 1, usd=1.0), fault(MONTHS, 3, usd=1.0)))

    part = all_of_it.between("2015-03", "2015-05")

    assert [month.id for month in part.months] == [window(2), window(3), window(4)]
    assert [each.month for each in part.faults] == [window(3)]
