"""The gate's rules one by one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from taxi_ml.gate.decision import Override, OverrideError, Verdict, decide
from taxi_ml.gate.reasons import ReasonCode
from taxi_ml.gate.report import Anomaly
from taxi_ml.splits import Split
from taxi_ml.sql.counts import SplitCounts
from tests.taxi_ml import reports
from tests.taxi_ml.reports import POLICY, a_report, metrics, slice_of, with_metrics

if TYPE_CHECKING:
    from taxi_ml.gate.metrics import Slice
    from taxi_ml.gate.policy import Policy
    from taxi_ml.gate.report import Report


def codes(given_report: Report, policy: Policy = POLICY) -> list[ReasonCode]:
    """Return the codes of the reasons against a report's challenger."""
    return [reason.code for reason in decide(policy, given_report).reasons]


def test_better_challenger_is_promoted() -> None:
    """A challenger that breaks no rule is promoted without a reason against it."""
    decision = decide(POLICY, a_report())

    assert (decision.verdict, decision.reasons) == (Verdict.PROMOTE, ())


def test_first_model_meets_absolute_rules_only() -> None:
    """Without a champion nothing is compared."""
    assert decide(POLICY, a_report(with_champion=False)).verdict is Verdict.PROMOTE


def test_every_reason_is_returned() -> None:
    """A challenger that breaks several rules gets a reason for each."""
    bad = replace(with_metrics(a_report(), metrics(12.0, 5.0)), blessed=False)

    assert codes(bad) == [
        ReasonCode.ABOVE_CEILING,
        ReasonCode.ABOVE_CEILING,
        ReasonCode.SIGNIFICANTLY_WORSE,
        ReasonCode.WORSE_THAN_ALLOWED,
        ReasonCode.SIGNIFICANTLY_WORSE,
        ReasonCode.WORSE_THAN_ALLOWED,
        ReasonCode.NOT_BLESSED,
    ]


def test_worse_by_chance_is_promoted() -> None:
    """A difference whose interval holds 0 and that is small does not reject."""
    assert codes(with_metrics(a_report(), metrics(4.6, 2.55))) == []


def test_reason_says_what_was_seen_and_required() -> None:
    """A reason has code, metric, slice, observed and required."""
    (reason,) = decide(POLICY, with_metrics(a_report(with_champion=False), metrics(12.0, 2.0))).reasons

    assert (reason.code, reason.metric, reason.slice, reason.observed, reason.required) == (
        ReasonCode.ABOVE_CEILING,
        "rmse",
        None,
        12.0,
        "at most 10 USD",
    )


@pytest.mark.parametrize("split", ["train", "eval", "test"])
def test_too_few_rows_reject(split: str) -> None:
    """Each split needs its rows."""
    given_report = a_report(with_champion=False)
    least = getattr(POLICY.min_rows, split)
    count = least - 1 if split == "test" else 400
    few = replace(
        given_report,
        rows=replace(given_report.rows, **{split: least - 1}),
        challenger=replace(given_report.challenger, metrics=metrics(4.4, 2.4, count)),
    )

    assert codes(few) == [ReasonCode.TOO_FEW_ROWS]
    assert codes(replace(given_report, rows=replace(given_report.rows, train=POLICY.min_rows.train))) == []


def test_missing_difference_rejects() -> None:
    """A champion without a comparison cannot be beaten."""
    assert set(codes(replace(a_report(), difference=None))) == {ReasonCode.METRIC_MISSING}


def test_worse_slice_rejects_only_with_enough_rows() -> None:
    """A slice below the policy's rows is reported as undecided."""
    enough = POLICY.slices.min_rows
    large, small = (
        replace(a_report(), slices=(*a_report().slices, _bad_slice(count))) for count in (enough, enough - 1)
    )

    assert codes(large) == [ReasonCode.SLICE_ABOVE_CEILING, ReasonCode.SLICE_WORSE]
    assert codes(small) == []
    assert decide(POLICY, small).undecided_slices == ("TripStartHour=3",)


def _bad_slice(count: int) -> Slice:
    return reports.slice_of("TripStartHour", "3", metrics(20, 11, count), metrics(20, 9, count))


def test_slice_is_judged_by_its_interval_where_it_has_one() -> None:
    """A slice whose interval reaches below the bar is not certainly worse."""
    part = _bad_slice(50)
    part = replace(
        part,
        challenger=metrics(9, 9, 50),
        champion=metrics(7, 7, 50),
        difference=reports.compared(metrics(9, 9), metrics(7, 7), half_width=1.5),
    )

    assert codes(replace(a_report(), slices=(*a_report().slices, part))) == []


def test_missing_slice_table_rejects() -> None:
    """Each feature that the policy names must have slices."""
    assert codes(replace(a_report(), slices=())) == [ReasonCode.SLICES_MISSING] * 3


def test_anomaly_rejects_unless_tolerated() -> None:
    """New categories are tolerated, other anomalies are not."""
    found = Anomaly(split=Split.TEST, feature="fare", description="too high", kind="")
    tolerated = replace(found, kind="ENUM_TYPE_UNEXPECTED_STRING_VALUES")

    assert codes(replace(a_report(), anomalies=(tolerated, found))) == [ReasonCode.DATA_ANOMALY]


def test_drift_rejects_beyond_the_bar() -> None:
    """Trips unlike those that the champion learned from reject, with the distance and its bar."""
    bar = POLICY.drift.max_distance
    far, near = (replace(a_report(), drift=(reports.drift(distance),)) for distance in (bar + 0.01, bar))
    (reason,) = decide(POLICY, far).reasons

    assert (reason.code, reason.metric) == (ReasonCode.DATA_DRIFT, "train pickup_census_tract linf")
    assert (reason.observed, reason.required) == (bar + 0.01, f"at most {bar:g}")
    assert codes(near) == []


def test_new_categories_are_tolerated_up_to_the_bar() -> None:
    """A few areas that the champion does not know are not a reason, many are."""
    bar = POLICY.drift.max_new_share
    many, few = (replace(a_report(), drift=(reports.drift(0.0, share),)) for share in (bar + 0.01, bar))
    (reason,) = decide(POLICY, many).reasons

    assert (reason.code, reason.metric) == (ReasonCode.DATA_DRIFT, "train pickup_census_tract new categories")
    assert codes(few) == []


@pytest.mark.parametrize("broken", [None, float("nan"), float("inf")])
def test_drift_that_is_no_number_rejects(broken: float | None) -> None:
    """A distance or share that could not be computed is a missing number."""
    found = (reports.drift(broken), reports.drift(0.0, broken))

    assert codes(replace(a_report(), drift=found)) == [ReasonCode.METRIC_MISSING] * 2


def test_drift_decides_only_where_the_policy_looks() -> None:
    """Other splits and ignored features are in the report and decide nothing."""
    elsewhere = reports.drift(0.9, split=Split.EVAL)
    ignored = replace(reports.drift(0.9), feature=next(iter(POLICY.drift.ignored_features)))

    assert codes(replace(a_report(), drift=(elsewhere, ignored))) == []


def test_champion_that_does_not_say_what_it_learned_from_rejects() -> None:
    """Unknown drift is a reason where the policy requires it, and never without a champion."""
    unknown = replace(a_report(), drift=())
    lenient = replace(POLICY, drift=replace(POLICY.drift, required=False))

    assert codes(unknown) == [ReasonCode.DRIFT_MISSING]
    assert codes(unknown, lenient) == []
    assert codes(a_report(with_champion=False)) == []


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
    assert (document["champion_rmse"], document["champion_mae"]) == (4.5, 2.5)


def test_too_few_rows_are_counted() -> None:
    """Each split is named, with its rows and those that it needs."""
    few = replace(a_report(), rows=SplitCounts(train=1, eval=2, test=400))
    told = [str(reason) for reason in decide(POLICY, few).reasons]

    assert told == [
        "too_few_rows: train rows is 1; required: at least 1000",
        "too_few_rows: eval rows is 2; required: at least 20",
    ]


def test_slice_of_just_enough_rows_decides() -> None:
    """A slice with the policy's rows is not among the undecided ones, one with a row less is."""
    enough = POLICY.slices.min_rows
    parts = tuple(
        slice_of("TripStartHour", str(count), metrics(4.0, 2.2, count), metrics(4.0, 2.2, count))
        for count in (enough - 1, enough)
    )
    decision = decide(POLICY, replace(a_report(), slices=(*a_report().slices, *parts)))

    assert decision.undecided_slices == (f"TripStartHour={enough - 1}",)


def test_worse_metrics_are_told_apart() -> None:
    """Every rule names the metric that breaks it."""
    ours = metrics(20.0, 9.0)
    worse = with_metrics(a_report(), ours)
    told = [(reason.code, reason.metric) for reason in decide(POLICY, worse).reasons]

    assert told == [
        (ReasonCode.ABOVE_CEILING, "rmse"),
        (ReasonCode.ABOVE_CEILING, "mae"),
        (ReasonCode.SIGNIFICANTLY_WORSE, "difference in rmse (low end)"),
        (ReasonCode.WORSE_THAN_ALLOWED, "difference in rmse"),
        (ReasonCode.SIGNIFICANTLY_WORSE, "difference in mae (low end)"),
        (ReasonCode.WORSE_THAN_ALLOWED, "difference in mae"),
    ]


def test_missing_number_is_named_with_its_place() -> None:
    """A number that could not be computed is reported by metric and slice, with the requirement."""
    part = replace(a_report().slices[0], challenger=metrics(4.0, None, 80))
    reasons = decide(POLICY, replace(a_report(), slices=(part, *a_report().slices[1:]))).reasons

    assert [str(reason) for reason in reasons] == [
        "metric_missing: mae in TripStartHour=8 is missing; required: a finite number",
        "metric_missing: difference in mae in TripStartHour=8 is missing; required: a finite number",
    ]


def test_reason_reads_as_one_line() -> None:
    """A number is given with four digits, and a rule over all rows names no slice."""
    (reason,) = decide(POLICY, with_metrics(a_report(with_champion=False), metrics(12.34567, 2.0))).reasons

    assert str(reason) == "above_ceiling: rmse is 12.35; required: at most 10 USD"


def test_decision_says_who_overrode_and_which_version_it_is() -> None:
    """The person is in decision.json and in the log, and the document has its version."""
    override = Override.of("known to be stale", ["not_blessed"], by="ada")
    decision = decide(POLICY, replace(a_report(), blessed=False), override)
    document = json.loads(decision.to_json())

    assert (document["schema_version"], document["override"]["by"]) == (1, "ada")
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
