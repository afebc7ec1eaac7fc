"""What the gate lets serve where the challenger was trained again with the test rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from taxi_ml.card import render
from taxi_ml.gate import kept
from taxi_ml.gate.champion import Champion
from taxi_ml.gate.decision import Verdict, decide, objections
from taxi_ml.gate.policy import DEFAULT_PATH, PolicyError, RefitRules, parse
from taxi_ml.gate.reasons import ReasonCode
from taxi_ml.gate.refits import Refit
from taxi_ml.gate.report import ReportError
from taxi_ml.gate.report import parse as parse_report
from tests.taxi_ml.reports import CHALLENGER, POLICY, a_report, metrics, with_metrics

if TYPE_CHECKING:
    from taxi_ml.gate.decision import Decision
    from taxi_ml.gate.report import Report

REFIT = "gs://taxi-local/serving/2015-07/refit"
MAE = 2.0
BOUNDED = replace(POLICY, refit=RefitRules(mean_absolute=0.2, mean_signed=0.1))
REFITTED = {"trained_from": "2013-06-01", "trained_until": "2015-07-01", "judged_until": "2015-06-01"}


def refitted(absolute: float | None, signed: float | None, mae: float | None = MAE) -> Report:
    """Return a report whose refit is so far from its challenger, USD."""
    report = with_metrics(a_report(with_champion=False), metrics(4.0, mae))
    return replace(report, refit=Refit(uri=REFIT, mean_absolute=absolute, mean_signed=signed))


def warned(decision: Decision) -> list[ReasonCode]:
    """Return the codes of a decision's warnings."""
    return [warning.code for warning in decision.warnings]


@pytest.mark.parametrize("signed", [0.2, -0.2, 0.0])
def test_a_refit_within_the_bounds_serves(signed: float) -> None:
    """The bounds are fractions of the judged model's MAE, and may be reached."""
    decision = decide(BOUNDED, refitted(0.4, signed))

    assert (decision.challenger, decision.serves_refit, warned(decision)) == (REFIT, True, [])


@pytest.mark.parametrize(
    ("absolute", "signed", "count"),
    [
        (0.401, 0.0, 1),
        (0.4, 0.201, 1),
        (0.4, -0.201, 1),
        (0.5, -0.5, 2),
        (None, 0.0, 1),
        (0.0, None, 1),
        (None, None, 2),
    ],
)
def test_a_refit_that_differs_does_not_serve(
    absolute: float | None, signed: float | None, count: int
) -> None:
    """The judged model is promoted in its place, and the decision says so, also for an unknown distance."""
    decision = decide(BOUNDED, refitted(absolute, signed))

    assert (decision.verdict, decision.reasons) == (Verdict.PROMOTE, ())
    assert (decision.challenger, decision.serves_refit) == (CHALLENGER, False)
    assert warned(decision) == [ReasonCode.REFIT_DIFFERS] * count


def test_an_unknown_mae_bounds_nothing() -> None:
    """Without the judged model's MAE no distance is small enough."""
    decision = decide(BOUNDED, refitted(0.0, 0.0, mae=None))

    assert (decision.challenger, warned(decision)) == (CHALLENGER, [ReasonCode.REFIT_DIFFERS] * 2)


def test_a_challenger_without_a_refit_serves_itself() -> None:
    """Nothing is said of refits where there is none."""
    decision = decide(BOUNDED, replace(refitted(0.0, 0.0), refit=None))

    assert (decision.challenger, decision.serves_refit, decision.refit) == (CHALLENGER, False, None)
    assert "refit" not in decision.describe()


def test_a_refit_does_not_help_a_rejected_challenger() -> None:
    """The judged model alone decides."""
    assert decide(BOUNDED, replace(refitted(0.0, 0.0), blessed=False)).verdict is Verdict.REJECT


@pytest.mark.parametrize(
    ("absolute", "line"),
    [
        (0.3, "refit: the refit is to serve; the refit's fares are 0.300 USD"),
        (0.9, "refit: the judged model is to serve; the refit's fares are 0.900 USD"),
        (None, "refit: the judged model is to serve; the refit's fares are unknown"),
    ],
)
def test_the_log_says_which_model_serves(absolute: float | None, line: str) -> None:
    """With both figures."""
    described = decide(BOUNDED, refitted(absolute, -0.1)).describe()

    assert f"{line} from the judged model's on average, -0.100 USD with the sign" in described


def test_report_and_decision_keep_the_refit() -> None:
    """Both documents are read back as they were."""
    report = refitted(0.4, -0.1)
    decision = decide(BOUNDED, report)

    assert parse_report(report.to_json()).refit == report.refit
    assert kept.parse(decision.to_json()) == decision


def test_a_distance_below_zero_is_refused() -> None:
    """A mean of sizes cannot be negative."""
    with pytest.raises(ReportError, match=r"report.refit.mean_absolute is -0.4; it must be 0 or more"):
        parse_report(refitted(-0.4, 0.0).to_json())


def test_a_policy_from_before_refits_has_bounds() -> None:
    """Rules of one's own without a table for refits have those of the shipped policy."""
    text = DEFAULT_PATH.read_text()
    older = parse(text.partition("[refit]")[0])

    assert older.refit == parse(text).refit


def test_a_bound_below_zero_is_refused() -> None:
    """The error names the rule."""
    text = DEFAULT_PATH.read_text().replace("mean_signed = 0.2", "mean_signed = -0.2")

    with pytest.raises(PolicyError, match=r"policy.refit.mean_signed is -0.2; give a fraction"):
        parse(text)


def test_a_refit_is_compared_by_its_judged_model() -> None:
    """That one lies in the refit's folder, and has not learned from the test months."""
    champion = Champion.of(name="m@1", uri=f"{REFIT}/", labels=REFITTED)

    assert champion.uri == f"{REFIT}/judged"
    assert objections(champion, "2015-07_train24_test1", compared=True) == ()
    assert objections(champion, "2015-08_train24_test2", compared=True) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"judged_until": "2015-07-01"},
        {"judged_until": ""},
        {"judged_until": "2013-06-01"},
        {"trained_until": ""},
    ],
)
def test_other_versions_are_compared_by_themselves(changes: dict[str, str]) -> None:
    """A version that has learned as long as it says, or that does not say, is no refit."""
    champion = Champion.of(name="m@1", uri=REFIT, labels=REFITTED | changes)

    assert champion.uri == REFIT


def test_a_refit_without_files_has_no_judged_model() -> None:
    """A version that was registered without a folder stays without."""
    assert Champion.of(name="m@1", uri="", labels=REFITTED).uri == ""


@pytest.mark.parametrize(
    ("absolute", "sentence"),
    [(0.3, "The refit is to serve"), (0.9, "because its refit differs too much from it")],
)
def test_the_card_says_which_model_serves(absolute: float, sentence: str) -> None:
    """With both figures and their bounds."""
    report = refitted(absolute, -0.1)
    page = " ".join(render(report, decide(BOUNDED, report)).split())

    assert sentence in page
    assert f"{absolute:.3f} USD from the judged model's on average, -0.100 with the sign" in page.replace(
        "\N{MINUS SIGN}", "-"
    ).replace("&#39;", "'")
    assert "20 % and 10 % of the judged model's MAE, 2.00 USD" in page
