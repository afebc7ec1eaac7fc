"""The policy at any size: how often equal models pass, and what is caught among hundreds of tracts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from taxi_ml.evaluation import scores, slicing
from taxi_ml.evaluation.scores import Predictions
from taxi_ml.gate import policy
from taxi_ml.gate.decision import Verdict, decide
from taxi_ml.gate.metrics import Role
from taxi_ml.gate.reasons import ReasonCode
from taxi_ml.gate.report import Challenger, ScoredChampion
from tests.taxi_ml.reports import CHALLENGER, CHAMPION, CHAMPION_NAME, a_report

if TYPE_CHECKING:
    from taxi_ml.gate.decision import Decision

POLICY = policy.load()
TRACTS = 300


def models(rows: int, seed: int, *, worse: float = 0.0) -> Predictions:
    """Return twins whose difference in MAE has a standard error of 0.7 % at 380 rows, as retrained models.

    The errors are heavy-tailed, and `worse` is the fraction by which the challenger's are larger.
    """
    random = np.random.default_rng(seed)
    errors = 1.9 * random.standard_t(3, rows) / 1.1
    fares = 12 + random.exponential(6, rows)
    twins = (0.15 * random.standard_t(5, rows) for _ in range(3))
    ours, champion, baseline = (errors + each for each in twins)
    return Predictions(
        fares=fares,
        challenger=fares + (1 + worse) * ours,
        champion=fares + champion,
        baseline=fares + 1.05 * baseline,
    )


def judged(found: Predictions, tracts: np.ndarray | None = None) -> Decision:
    """Score the models as a run does, and let the shipped policy decide."""
    assert found.champion is not None
    assert found.baseline is not None
    rows = len(found.fares)
    columns = {name: np.zeros(rows, int) for name in POLICY.slices.features}
    if tracts is not None:
        columns["pickup_census_tract"] = tracts
        columns["TripStartHour"] = np.arange(rows) % 24
    return decide(
        POLICY,
        replace(
            a_report(),
            rows=replace(a_report().rows, test=rows),
            challenger=Challenger(uri=CHALLENGER, metrics=scores.metrics(found.fares, found.challenger)),
            champion=ScoredChampion(
                name=CHAMPION_NAME, uri=CHAMPION, metrics=scores.metrics(found.fares, found.champion)
            ),
            difference=scores.difference(found, seed=1),
            references=(
                scores.reference(Role.BASELINE, found, found.baseline, name="trees", uri="", seed=1),
            ),
            slices=slicing.slices(found, columns),
            fit=None,
        ),
    )


def promoted(rows: int, times: int, *, worse: float = 0.0) -> float:
    """Return the share of pairs of models whose challenger is promoted."""
    verdicts = [judged(models(rows, seed, worse=worse)).verdict for seed in range(times)]
    return verdicts.count(Verdict.PROMOTE) / times


@pytest.mark.parametrize(
    ("rows", "times", "least"), [(380, 100, 0.65), (1140, 50, 0.96), (50_000, 20, 1.0), (1_000_000, 2, 1.0)]
)
def test_equal_models_are_promoted_at_any_size(rows: int, times: int, least: float) -> None:
    """Models that differ by their seed pass more often with more rows, and always with many."""
    assert promoted(rows, times) >= least


@pytest.mark.parametrize(("rows", "times"), [(380, 100), (50_000, 20), (1_000_000, 2)])
def test_models_at_the_margin_rarely_pass(rows: int, times: int) -> None:
    """A model that is 2 % worse is promoted in 5 % of the comparisons at most."""
    assert promoted(rows, times, worse=0.02) <= 0.05


def spread(rows: int, seed: int) -> np.ndarray:
    """Return a tract for each row, the largest with hundreds of times the rows of the smallest."""
    shares = 1 / np.arange(1, TRACTS + 1)
    return np.random.default_rng((seed, 7)).choice(TRACTS, rows, p=shares / shares.sum())


def test_equal_models_pass_with_hundreds_of_tracts() -> None:
    """No slice is called worse by chance in 97 % of the comparisons of 100,000 and 1 million rows."""
    decisions = [judged(models(100_000, seed), spread(100_000, seed)) for seed in range(33)]
    decisions.append(judged(models(1_000_000, 99), spread(1_000_000, 99)))

    assert sum(decision.verdict is Verdict.PROMOTE for decision in decisions) / len(decisions) >= 0.97


@pytest.mark.parametrize("rows", [100_000, 1_000_000])
def test_one_bad_tract_is_caught(rows: int) -> None:
    """A model that is 30 % worse in one of 300 tracts is rejected for that tract alone."""
    found, tracts = models(rows, seed=5), spread(rows, seed=5)
    bad = np.where(tracts == 150, 1.3, 1.0)
    worse = replace(found, challenger=found.fares + bad * (found.challenger - found.fares))
    decision = judged(worse, tracts)

    assert [(reason.code, reason.slice) for reason in decision.reasons] == [
        (ReasonCode.SLICE_WORSE, "pickup_census_tract=150")
    ]
