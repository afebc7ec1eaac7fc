"""The gate's rules one by one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from taxi_ml.gate.decision import Override, OverrideError, Verdict, decide
from taxi_ml.gate.metrics import Role
from taxi_ml.gate.reasons import FORGIVEN, ReasonCode
from taxi_ml.gate.report import Anomaly, ScoredChampion
from taxi_ml.splits import Split
from taxi_ml.sql.counts import SplitCounts
from tests.taxi_ml import reports
from tests.taxi_ml.reports import POLICY, a_report, metrics, with_metrics

if TYPE_CHECKING:
    from taxi_ml.gate.policy import Policy
    from taxi_ml.gate.report import Report


SPLITS = (Split.TRAIN, Split.TEST)


def codes(given_report: Report, policy: Policy = POLICY) -> list[ReasonCode]:
    """Return the codes of the reasons against a report's challenger."""
    return [reason.code for reason in decide(policy, given_report).reasons]


def test_better_challenger_is_promoted() -> None:
    """A challenger that breaks no rule is promoted without a reason against it."""
    decision = decide(POLICY, a_report())

    assert (decision.verdict, decision.reasons) == (Verdict.PROMOTE, ())


def test_first_model_meets_absolute_rules_and_the_baseline() -> None:
    """Without a champion the ceilings and the baseline's margin decide."""
    first = a_report(with_champion=False)

    assert decide(POLICY, first).verdict is Verdict.PROMOTE
    assert codes(with_metrics(first, metrics(4.7, 3.2))) == [
        ReasonCode.ABOVE_BASELINE_MARGIN,
        ReasonCode.ABOVE_ANCHOR_MARGIN,
    ]


def test_every_reason_is_returned() -> None:
    """A challenger that breaks several rules gets a reason for each."""
    bad = replace(with_metrics(a_report(), metrics(12.0, 5.0)), blessed=False)

    assert codes(bad) == [
        *[ReasonCode.ABOVE_CEILING] * 2,
        *[ReasonCode.ABOVE_MARGIN] * 2,
        *[ReasonCode.ABOVE_BASELINE_MARGIN] * 2,
        *[ReasonCode.ABOVE_ANCHOR_MARGIN] * 2,
        ReasonCode.NOT_BLESSED,
    ]


def test_certainly_better_challenger_is_not_held_back() -> None:
    """What a better model looks like beside other models, in a slice or in its data only warns."""
    ours = metrics(11.0, 2.0)
    theirs = metrics(20, 9, 50)
    part = reports.slice_of("TripStartHour", "3", metrics(20, 12, 50), theirs, theirs, half_width=0.5)
    bad = replace(
        with_metrics(a_report(), ours),
        champion=ScoredChampion(name="m", uri="gs://b/m", metrics=metrics(12.0, 2.45)),
        difference=reports.compared(ours, metrics(12.0, 2.45)),
        references=tuple(reports.reference(role, ours, metrics(4, 1.5)) for role in Role),
        slices=(*a_report().slices, part),
        skew=(reports.drift(0.9, split=Split.TEST),),
    )
    decision = decide(POLICY, bad)

    assert (decision.verdict, decision.reasons) == (Verdict.PROMOTE, ())
    assert {reason.code for reason in decision.warnings} == FORGIVEN
    assert decide(replace(POLICY, margin=replace(POLICY.margin, better=0.2)), bad).verdict is Verdict.REJECT


def test_identical_models_are_unchanged() -> None:
    """A challenger that answers as the champion does is neither promoted nor rejected, whatever else."""
    same = replace(a_report(), unchanged=True, blessed=False)

    assert decide(POLICY, same).verdict is Verdict.UNCHANGED
    assert decide(POLICY, same, Override.of("why", ["not_blessed"])).verdict is Verdict.UNCHANGED


def test_reason_says_what_was_seen_and_required() -> None:
    """A reason has code, metric, slice, observed and required."""
    (reason,) = decide(POLICY, _with_rmse(12.0)).reasons

    assert (reason.code, reason.metric, reason.slice, reason.observed, reason.required) == (
        ReasonCode.ABOVE_CEILING,
        "rmse",
        None,
        12.0,
        "at most 10 USD",
    )


def _with_rmse(rmse: float) -> Report:
    """Return the report of a first model with large errors, without a reference."""
    given_report = replace(a_report(with_champion=False), references=())
    return with_metrics(given_report, metrics(rmse, 2.0))


@pytest.mark.parametrize("split", ["train", "eval", "test"])
def test_too_few_rows_reject(split: str) -> None:
    """Each split needs its rows."""
    given_report = a_report(with_champion=False)
    least = getattr(POLICY.min_rows, split)
    count = least - 1 if split == "test" else 400
    few = replace(
        given_report,
        references=(),
        rows=replace(given_report.rows, **{split: least - 1}),
        challenger=replace(given_report.challenger, metrics=metrics(4.4, 2.4, count)),
    )

    assert codes(few) == [ReasonCode.TOO_FEW_ROWS]
    assert codes(replace(given_report, rows=replace(given_report.rows, train=POLICY.min_rows.train))) == []


def test_missing_difference_rejects() -> None:
    """A champion without a comparison cannot be beaten."""
    assert set(codes(replace(a_report(), difference=None))) == {ReasonCode.METRIC_MISSING}


def test_missing_slice_table_rejects() -> None:
    """Each feature that the policy names must have slices."""
    assert codes(replace(a_report(), slices=())) == [ReasonCode.SLICES_MISSING] * 3


def test_anomaly_rejects_unless_tolerated() -> None:
    """New categories are tolerated, other anomalies are not."""
    found = Anomaly(split=Split.TEST, feature="fare", description="too high", kind="")
    tolerated = replace(found, kind="ENUM_TYPE_UNEXPECTED_STRING_VALUES")

    assert codes(replace(a_report(), anomalies=(tolerated, found))) == [ReasonCode.DATA_ANOMALY]


def test_tuner_that_was_off_is_no_reason() -> None:
    """Tuning is required only where the policy says so."""
    off = replace(a_report(), tuner=None)

    assert codes(off) == []
    assert codes(off, replace(POLICY, require_tuner=True)) == [ReasonCode.TUNER_UNHEALTHY]


@pytest.mark.parametrize("change", [{"trials": 0}, {"best": {}}, {"best_score": None}])
def test_unhealthy_tuner_rejects(change: dict[str, Any]) -> None:
    """A Tuner without trials, choice or score did not tune."""
    given_report = a_report()
    if given_report.tuner is None:
        pytest.fail("the report has a tuner")

    assert codes(replace(given_report, tuner=replace(given_report.tuner, **change))) == [
        ReasonCode.TUNER_UNHEALTHY
    ]


def test_no_blessing_rejects() -> None:
    """An Evaluator that validated nothing has not blessed the model."""
    assert codes(replace(a_report(), blessed=None)) == [ReasonCode.NOT_BLESSED]


def test_override_promotes_and_is_recorded() -> None:
    """An overridden code no longer counts, and the decision keeps its reason and the override's."""
    override = Override.of("the Evaluator's threshold is known to be stale", ["not_blessed"])
    decision = decide(POLICY, replace(a_report(), blessed=False), override)

    assert decision.verdict is Verdict.PROMOTE
    assert [reason.code for reason in decision.reasons] == [ReasonCode.NOT_BLESSED]
    assert json.loads(decision.to_json())["override"]["reason"] == override.reason


def test_override_of_other_codes_changes_nothing() -> None:
    """Reasons that the override does not name still reject."""
    override = Override.of("small month", ["too_few_rows"])

    assert decide(POLICY, replace(a_report(), blessed=False), override).verdict is Verdict.REJECT


@pytest.mark.parametrize(
    ("reason", "names", "problem"),
    [
        (" ", ["not_blessed"], "written reason"),
        ("because", [], "needs at least one code"),
        ("because", ["metric_missing"], "cannot be overridden"),
        ("because", ["data_drift"], "data_drift cannot be overridden"),
        ("because", ["nonsense"], "nonsense is not a reason code"),
    ],
)
def test_override_must_be_auditable(reason: str, names: list[str], problem: str) -> None:
    """An override has a reason, known codes, and none of a missing number."""
    with pytest.raises(OverrideError, match=problem):
        Override.of(reason, names)


def test_decision_json_holds_what_was_decided_on() -> None:
    """decision.json has verdict, reasons, both models, window, hashes and the policy."""
    document = json.loads(decide(POLICY, replace(a_report(), blessed=False)).to_json())

    assert document["verdict"] == "reject"
    assert document["reasons"] == [
        {
            "code": "not_blessed",
            "metric": "blessing",
            "slice": None,
            "observed": "not blessed",
            "required": "blessed",
        }
    ]
    assert (document["challenger"], document["champion"]) == (reports.CHALLENGER, reports.CHAMPION_NAME)
    assert (document["window"], document["hashes"]["data"]) == ("2015-07_train24_test1", "c3")
    assert document["policy"]["max_usd"] == {"rmse": 10.0, "mae": 4.0}
    assert document["rows"] == {"train": 9118, "eval": 449, "test": 400}
    assert (document["rmse"], document["mae"]) == (4.4, 2.4)
    assert (document["champion_rmse"], document["champion_mae"]) == (4.5, 2.45)
    assert (document["power"], document["rows_needed"]) == (pytest.approx(0.893, abs=0.001), 307)
    assert document["warnings"] == []


def test_too_few_rows_are_counted() -> None:
    """Each split is named, with its rows and those that it needs."""
    few = replace(a_report(), rows=SplitCounts(train=1, eval=2, test=400))
    told = [str(reason) for reason in decide(POLICY, few).reasons]

    assert told == [
        "too_few_rows: train rows is 1; required: at least 1000",
        "too_few_rows: eval rows is 2; required: at least 20",
    ]


def test_worse_metrics_are_told_apart() -> None:
    """Every rule names the metric and the model that it is about."""
    worse = with_metrics(a_report(), metrics(20.0, 9.0))
    told = [(reason.code, reason.metric) for reason in decide(POLICY, worse).reasons]

    assert told == [
        (ReasonCode.ABOVE_CEILING, "rmse"),
        (ReasonCode.ABOVE_CEILING, "mae"),
        *(
            (code, f"{metric}: high end of the difference from the {other}")
            for code, other in (
                (ReasonCode.ABOVE_MARGIN, "champion"),
                (ReasonCode.ABOVE_BASELINE_MARGIN, "baseline"),
                (ReasonCode.ABOVE_ANCHOR_MARGIN, "anchor"),
            )
            for metric in ("mae", "clipped_rmse")
        ),
    ]


def test_missing_number_is_named_with_its_place() -> None:
    """A number that could not be computed is reported by metric and slice, with the requirement."""
    part = replace(a_report().slices[0], challenger=metrics(4.0, None, 80), difference=None)
    reasons = decide(POLICY, replace(a_report(), slices=(part, *a_report().slices[1:]))).reasons

    assert [str(reason) for reason in reasons] == [
        "metric_missing: mae in TripStartHour=8 is missing; required: a finite number",
        (
            "metric_missing: difference in mae from the champion in TripStartHour=8 is missing; "
            "required: a finite number"
        ),
    ]


def test_reason_reads_as_one_line() -> None:
    """A number is given with four digits, and a rule over all rows names no slice."""
    (reason,) = decide(POLICY, _with_rmse(12.34567)).reasons

    assert str(reason) == "above_ceiling: rmse is 12.35; required: at most 10 USD"


def test_decision_says_who_overrode_and_which_version_it_is() -> None:
    """The person is in decision.json and in the log, and the document has its version."""
    override = Override.of("known to be stale", ["not_blessed"], by="ada")
    decision = decide(POLICY, replace(a_report(), blessed=False), override)
    document = json.loads(decision.to_json())

    assert (document["schema_version"], document["override"]["by"]) == (2, "ada")
    assert decision.describe().splitlines()[-1] == "overridden not_blessed by ada: known to be stale"


def test_decision_is_the_same_text_each_time() -> None:
    """Keys are sorted and lines are short, so that two decisions can be compared with diff."""
    text = decide(POLICY, a_report()).to_json()

    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True)


def test_override_by_nobody_names_nobody() -> None:
    """If the person is unknown, the log has only the codes and the reason."""
    decision = decide(POLICY, a_report(), Override.of("stale", ["not_blessed"]))

    assert decision.describe().splitlines()[-1] == "overridden not_blessed: stale"
    assert json.loads(decision.to_json())["override"]["by"] == ""


def test_a_first_decision_names_no_champion() -> None:
    """Where no model serves, the decision has none to name."""
    assert decide(POLICY, a_report(with_champion=False)).champion is None
