from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from taxi_ml.evaluation import scores
from taxi_ml.gate.decision import Verdict, decide
from taxi_ml.gate.distributions import Distance, Drift
from taxi_ml.gate.metrics import Role
from taxi_ml.gate.policy import DEFAULT_PATH, load
from taxi_ml.replay.contest import SEED, Contest, Reports, report_of
from taxi_ml.replay.policies import Policy, always, gated, never, of_text, standard
from taxi_ml.replay.simulation import simulate
from taxi_ml.replay.stored import BASELINE
from taxi_ml.splits import Split
from tests.taxi_ml.replays import stored, window

if TYPE_CHECKING:
    from taxi_ml.gate.report import Report
    from taxi_ml.replay.contest import Lineup
    from taxi_ml.replay.policies import Outcome

MONTHS = stored((1.0, 0.8, 1.5))
MONTH = MONTHS.months[2]
OWN: Lineup = (window(2),)
FARES = MONTH.rows.fares


def contest(*, challenger: Lineup = OWN, anchor: Lineup = ()) -> Contest:
    """Return the choice of the third month between its model, or another, and the second's."""
    return Contest(month=MONTH, challenger=challenger, champion=(window(1),), anchor=anchor)


def scored(challenger: str) -> scores.Predictions:
    """Return what the report of that challenger should be made from."""
    found = MONTH.predictions
    return scores.Predictions(
        fares=FARES, challenger=found[challenger], champion=found[window(1)], baseline=found[BASELINE]
    )


def without_baseline(report: Report) -> Contest:
    """Return the choice if the replay has no predictions of the baseline, and the run has this report."""
    kept = {name: values for name, values in MONTH.predictions.items() if name != BASELINE}
    judged = replace(MONTH.judged, predictions=kept, report=report)
    return replace(contest(), month=replace(MONTH, judged=judged))


def test_every_number_of_the_report_is_of_the_models_of_the_contest() -> None:
    """The run's own model is the second's challenger here, so that nothing of the run's report is left."""
    expected = scored(window(0))
    report = report_of(contest(challenger=(window(0),), anchor=(window(1), window(2))))
    baseline, anchor = report.references
    mean = (MONTH.predictions[window(1)] + MONTH.predictions[window(2)]) / 2

    assert report.challenger.uri == f"replay/{window(0)}"
    assert report.challenger.metrics == scores.metrics(FARES, expected.challenger)
    assert report.champion is not None
    assert (report.champion.name, report.champion.uri) == (f"replay/{window(1)}",) * 2
    assert report.difference == scores.difference(expected, seed=SEED)
    assert baseline == scores.reference(
        Role.BASELINE, expected, MONTH.predictions[BASELINE], name="trees", uri="", seed=SEED
    )
    uri = f"replay/{window(1)}+{window(2)}"
    assert anchor == scores.reference(Role.ANCHOR, expected, mean, name=uri, uri=uri, seed=SEED)
    assert report.slices
    assert all(part.baseline is not None for part in report.slices)
    assert (report.unchanged, report.drift) == (False, ())


def test_nothing_of_the_runs_own_comparison_is_left() -> None:
    """The run's slices are of its own champion and baseline, its drift is from another champion."""
    own = report_of(contest())
    slices = tuple(replace(part, baseline=None, baseline_difference=None) for part in own.slices)
    drift = Drift(
        split=Split.TEST, feature="fare", measure=Distance.JENSEN_SHANNON, distance=0.5, new_share=0.0
    )
    judged = replace(MONTH.judged, report=replace(MONTH.judged.report, slices=slices, drift=(drift,)))

    assert report_of(replace(contest(), month=replace(MONTH, judged=judged))) == own


def test_a_model_that_meets_itself_is_unchanged() -> None:
    """The gate has nothing to decide."""
    report = report_of(contest(challenger=(window(1),)))

    assert report.unchanged is True
    assert decide(load(), report).verdict is Verdict.UNCHANGED


def test_a_baseline_without_a_name_in_the_run_has_one() -> None:
    """The run's report may lack the comparison that the replay makes."""
    judged = replace(MONTH.judged, report=replace(MONTH.judged.report, references=()))
    report = report_of(replace(contest(), month=replace(MONTH, judged=judged)))

    assert [each.name for each in report.references] == [BASELINE]


def test_slices_keep_the_runs_own_comparison_with_its_baseline() -> None:
    """Only without predictions of the baseline; the rest of a slice is the contest's."""
    own = report_of(contest())
    largest = max(own.slices, key=lambda part: part.count)
    report = report_of(without_baseline(replace(MONTH.judged.report, slices=(largest,))))
    bare = [part for part in report.slices if part != largest]

    assert largest.baseline_difference is not None
    assert [part.name for part in report.slices] == [part.name for part in own.slices]
    assert len(bare) == len(own.slices) - 1
    assert all(part.baseline is None and part.baseline_difference is None for part in bare)
    assert all(part.champion is not None for part in bare)


def test_a_mean_of_models_is_not_compared_with_a_baseline_that_is_unknown() -> None:
    """The run compared its own model only."""
    bare = without_baseline(MONTH.judged.report)

    assert report_of(bare).references == MONTH.judged.report.references
    assert report_of(replace(bare, challenger=(window(1), window(2)))).references == ()


@pytest.mark.parametrize("serves", [1, 2])
def test_a_month_is_a_choice_between_the_last_models(serves: int) -> None:
    """A challenger is the month's own model, alone or in place of the oldest that serves."""
    months = stored((1.0, 1.0, 1.0, 1.0), rows=20)
    seen: list[tuple[Lineup, Lineup]] = []

    def watching(each: Contest, reports: Reports) -> Outcome:
        seen.append((each.challenger, each.champion))
        return always(each, reports)

    steps = simulate(months, Policy(name="watching", rule=watching, serves=serves), Reports()).steps
    ids = [month.id for month in months.months]

    assert [step.month for step in steps] == ids
    assert [step.verdict for step in steps] == [None, *[Verdict.PROMOTE] * 3]
    assert seen == [
        (tuple(ids[max(0, place + 1 - serves) : place + 1]), tuple(ids[max(0, place - serves) : place]))
        for place in (1, 2, 3)
    ]


@pytest.mark.parametrize("serves", [1, 3])
def test_a_gated_policy_asks_the_gate(serves: int) -> None:
    """Verdict and reasons are the gate's on this report."""
    policy = load()
    asked = gated("mine", policy, serves=serves)
    expected = decide(policy, report_of(contest()))
    outcome = asked.rule(contest(), Reports())

    assert (asked.name, asked.serves, asked.gate) == ("mine", serves, policy)
    assert (outcome.verdict, outcome.reasons) == (expected.verdict, expected.reasons)
    assert outcome.verdict is Verdict.REJECT
    assert of_text("mine", DEFAULT_PATH.read_text()).gate == policy


def test_the_standard_policies_have_names_and_numbers_of_models() -> None:
    """The shipped one has the gate's own rules, as has the mean."""
    assert [(each.name, each.serves) for each in standard()] == [
        ("shipped", 1),
        ("mean_of_3", 3),
        ("always", 1),
        ("never", 1),
        ("better-only", 1),
    ]
    assert standard()[0].gate == standard()[1].gate == load()
    assert never(contest(), Reports()).verdict is Verdict.REJECT


def test_a_lower_error_is_better_and_not_a_lower_fare() -> None:
    """Forty percent of the fare is farther from it than one and a half times."""
    predictions = {**MONTH.predictions, window(2): FARES * 0.4, window(1): FARES * 1.5}
    month = replace(MONTH, judged=replace(MONTH.judged, predictions=predictions))
    (better_only,) = (each for each in standard() if each.name == "better-only")

    assert better_only.rule(replace(contest(), month=month), Reports()).verdict is Verdict.REJECT
    assert np.all(predictions[window(2)] < predictions[window(1)])
