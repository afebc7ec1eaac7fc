"""The gate on real models: straight lines, fitted to sound and to corrupted fares, scored as a run does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from taxi_ml.evaluation import scores
from taxi_ml.gate.decision import Verdict, decide
from taxi_ml.gate.reasons import ReasonCode
from taxi_ml.gate.report import Challenger, ScoredChampion
from tests.taxi_ml.reports import CHALLENGER, CHAMPION, CHAMPION_NAME, POLICY, a_report

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from taxi_ml.gate.decision import Decision

RANDOM = np.random.default_rng(3)


def trips(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return miles and fares of a taximeter."""
    miles = RANDOM.exponential(3.0, count)
    return miles, 3.25 + 2.25 * miles + RANDOM.normal(0, 1.5, count)


def fitted(miles: NDArray[np.float64], fares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return slope and intercept of the least squares."""
    return np.polyfit(miles, fares, 1)


def judged(challenger: NDArray[np.float64], champion: NDArray[np.float64]) -> Decision:
    """Score two lines on the same test trips, and let the gate decide."""
    miles, fares = trips(400)
    found = scores.Predictions(
        fares=fares,
        challenger=np.polyval(challenger, miles).astype(np.float64),
        champion=np.polyval(champion, miles).astype(np.float64),
    )
    ours = scores.metrics(fares, found.challenger)
    theirs = scores.metrics(fares, np.polyval(champion, miles).astype(np.float64))
    return decide(
        POLICY,
        replace(
            a_report(),
            challenger=Challenger(uri=CHALLENGER, metrics=ours),
            champion=ScoredChampion(name=CHAMPION_NAME, uri=CHAMPION, metrics=theirs),
            difference=scores.difference(found, seed=1),
            references=(),
            slices=tuple(
                replace(part, baseline=None, baseline_difference=None) for part in a_report().slices
            ),
        ),
    )


def test_model_of_corrupted_labels_is_rejected_for_being_worse() -> None:
    """A line through shuffled fares is certainly worse than the champion, in both metrics."""
    miles, fares = trips(2000)
    decision = judged(fitted(miles, RANDOM.permutation(fares)), fitted(miles, fares))
    worse = [reason.metric for reason in decision.reasons if reason.code is ReasonCode.ABOVE_MARGIN]

    assert decision.verdict is Verdict.REJECT
    assert worse == [
        "mae: high end of the difference from the champion",
        "clipped_rmse: high end of the difference from the champion",
    ]


def test_clearly_better_model_is_promoted() -> None:
    """The same two lines the other way round promote, without a reason."""
    miles, fares = trips(2000)
    decision = judged(fitted(miles, fares), fitted(miles, RANDOM.permutation(fares)))

    assert (decision.verdict, decision.reasons) == (Verdict.PROMOTE, ())
