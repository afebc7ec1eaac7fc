from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pytest

from taxi_ml.evaluation.scores import CLIP_USD
from taxi_ml.replay.comparison import compare
from taxi_ml.replay.contest import Contest, Reports, skill
from taxi_ml.replay.policies import Policy, always, better_only
from taxi_ml.replay.simulation import Chain, Step, Trips, hindsight, simulate, users
from taxi_ml.replay.stored import Stored
from tests.taxi_ml.replays import stored, window

if TYPE_CHECKING:
    from taxi_ml.replay.comparison import UserErrors
    from taxi_ml.replay.policies import Outcome

NOISE = (1.0, 0.8, 1.5, 0.7, 0.9)
MONTHS = stored(NOISE)


def chain(name: str, errors: list[float]) -> Chain:
    """Return a policy whose users met these errors, USD."""
    step = Step(month=window(0), verdict=None, reasons=(), serves=(window(0),), errors=np.array(errors))
    return Chain(policy=name, steps=(step,))


def compared(days: list[int], *, seed: int = 1, **errors: list[float]) -> dict[str, UserErrors]:
    """Compare policies by their errors, the first one being the reference."""
    trips = Trips(fares=np.zeros(len(days)), days=np.array(days))
    chains = [chain(name, each) for name, each in errors.items()]
    return dict(compare(chains, [trips], reference=next(iter(errors)), seed=seed))


def test_estimates_are_the_means_over_all_trips() -> None:
    """The estimate is the plain one, whatever the days; a large error is clipped in one metric only."""
    errors = [1.0, -2.0, 3.0, -4.0, CLIP_USD + 75.0]
    found = compared([10, 10, 10, 11, 12], a=[1.0] * 5, b=errors)["b"]

    assert found.mae.estimate == pytest.approx(np.mean(np.abs(errors)))
    assert found.rmse.estimate == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert found.clipped_rmse.estimate == pytest.approx(np.sqrt((1 + 4 + 9 + 16 + CLIP_USD**2) / 5))
    assert found.against.estimate == pytest.approx(np.mean(np.abs(errors)) - 1)


def test_intervals_hold_95_percent_of_the_draws_of_days() -> None:
    """With one trip a day, the interval is that of theory for a mean."""
    errors = list(np.random.default_rng(5).normal(10, 1, 400))
    found = compared(list(range(400)), a=errors)["a"].mae
    half = 1.96 * np.std(errors) / 20

    assert found.low == pytest.approx(np.mean(errors) - half, abs=0.01)
    assert found.high == pytest.approx(np.mean(errors) + half, abs=0.01)


def test_policies_are_compared_on_the_same_draws() -> None:
    """A policy that is worse by a constant is so in every draw."""
    errors = list(np.random.default_rng(6).gamma(1, 3, 200))
    found = compared([day // 5 for day in range(200)], a=errors, b=[each + 0.5 for each in errors])["b"]

    against = (found.against.low, found.against.estimate, found.against.high)

    assert against == pytest.approx((0.5, 0.5, 0.5))


def test_another_seed_gives_other_draws() -> None:
    """The seed decides the draws, and nothing else does."""
    errors = list(np.random.default_rng(7).gamma(1, 3, 50))
    days = list(range(50))

    assert compared(days, a=errors) == compared(days, a=errors)
    assert compared(days, a=errors)["a"].mae.low != compared(days, seed=2, a=errors)["a"].mae.low


def test_hindsight_serves_the_model_that_is_best_in_the_following_month() -> None:
    """Of the models that existed, that of the lowest MAE on the trips that follow."""
    found = hindsight(MONTHS)

    for place, step in enumerate(found.steps[:-1]):
        after = MONTHS.months[place + 1]
        errors = {
            name: after.predictions[name] - after.rows.fares
            for name in (window(number) for number in range(place + 1))
        }
        best = min(errors, key=lambda name: float(np.abs(errors[name]).sum()))
        assert (step.month, step.serves) == (window(place), (best,))
        assert step.errors.tolist() == errors[best].tolist()
        assert (step.verdict, step.reasons) == (None, ())
    assert (found.policy, len(found.steps), len(found.steps[-1].errors)) == ("hindsight", len(NOISE), 0)


def test_users_trips_begin_on_the_first_day_after_the_month() -> None:
    """A trip on the last day of the month was judged, one on the next day is a user's."""
    first, second = MONTHS.months[:2]
    end = (date(2015, 1, 1) - date(1970, 1, 1)).days
    days = np.full(len(second.rows.days), end)
    days[:7] = end - 1
    months = Stored(months=(first, replace(second, rows=replace(second.rows, days=days))))

    (trips,) = users(months)

    assert trips.days.tolist() == [end] * (len(days) - 7)
    assert trips.fares.tolist() == second.rows.fares[7:].tolist()
    assert (
        len(simulate(months, Policy(name="always", rule=always), Reports()).steps[0].errors) == len(days) - 7
    )


def test_the_anchor_is_of_the_last_twelve_months() -> None:
    """The first model is the best of all, and is the anchor for a year."""
    months = stored((0.1, *[2.0] * 14), rows=60)
    seen: dict[str, tuple[str, ...]] = {}

    def watching(contest: Contest, _reports: Reports) -> Outcome:
        seen[contest.month.id] = contest.anchor
        return always(contest, _reports)

    simulate(months, Policy(name="watching", rule=watching), Reports())

    assert [seen[window(number)] for number in range(1, 13)] == [(window(0),)] * 12
    assert seen[window(13)] != (window(0),)
    assert seen[window(14)] != (window(0),)


def test_without_baselines_there_is_no_anchor() -> None:
    """Skill is unknown, so that no champion is the best."""
    months = Stored(
        months=tuple(
            replace(month, judged=replace(month.judged, report=replace(month.judged.report, references=())))
            for month in MONTHS.months
        )
    )
    seen = []

    def watching(contest: Contest, _reports: Reports) -> Outcome:
        seen.append(contest.anchor)
        return always(contest, _reports)

    simulate(months, Policy(name="watching", rule=watching), Reports())

    assert seen == [()] * (len(NOISE) - 1)


def test_an_equal_model_is_not_better() -> None:
    """The rule of point estimates asks for a lower MAE than the champion's."""
    contest = Contest(month=MONTHS.months[2], challenger=(window(1),), champion=(window(1),), anchor=())

    assert better_only(contest, Reports()).verdict == "reject"


def test_skill_is_the_error_over_that_of_the_baseline() -> None:
    """Both are of the run's own test rows; without a baseline there is no skill."""
    month = MONTHS.months[3]
    report = month.judged.report
    ours, theirs = report.challenger.metrics.mae, report.references[0].metrics.mae
    bare = replace(month, judged=replace(month.judged, report=replace(report, references=())))
    assert ours is not None
    assert theirs is not None

    assert skill(month) == ours / theirs
    assert skill(bare) is None
