"""What became of a run, and why, in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from taxi_ml.card.plots import shown
from taxi_ml.gate.reasons import ReasonCode
from taxi_ml.record.answers import Answer
from taxi_ml.record.run import Outcome

if TYPE_CHECKING:
    from datetime import datetime

    from taxi_ml.gate.decision import Decision
    from taxi_ml.gate.metrics import Interval
    from taxi_ml.gate.reasons import Reason
    from taxi_ml.gate.report import Report
    from taxi_ml.record.run import RunRecord

_WHY: Final = {
    ReasonCode.CHAMPION_MISSING: "it was not compared with the model that serves",
    ReasonCode.CHAMPION_NEWER: "the model that serves has learned from its test months or later ones",
    ReasonCode.METRIC_MISSING: "a number that decides is missing",
    ReasonCode.SLICES_MISSING: "a table of slices is missing",
    ReasonCode.TOO_FEW_ROWS: "there are too few trips",
    ReasonCode.ABOVE_CEILING: "its error is above the ceiling",
    ReasonCode.ABOVE_MARGIN: "it may be worse than the champion by more than the margin",
    ReasonCode.ABOVE_BASELINE_MARGIN: "it may be worse than boosted trees by more than the margin",
    ReasonCode.ABOVE_ANCHOR_MARGIN: "it may be worse than the year's best champion by more than the margin",
    ReasonCode.BASELINE_MISSING: "there is no baseline to compare with",
    ReasonCode.SLICE_WORSE: "it is certainly worse than the champion for some trips",
    ReasonCode.SLICE_WORSE_THAN_BASELINE: "it is certainly worse than boosted trees for some trips",
    ReasonCode.DATA_ANOMALY: "the trips have anomalies",
    ReasonCode.DATA_SKEW: "the test trips differ too much from those that it learned from",
    ReasonCode.TUNER_UNHEALTHY: "the Tuner found no sound model",
    ReasonCode.NOT_BLESSED: "the Evaluator did not bless it",
    ReasonCode.DATA_DRIFT: "the trips have drifted from the champion's",
    ReasonCode.DRIFT_MISSING: "drift could not be measured",
    ReasonCode.SKEW_MISSING: "skew could not be measured",
    ReasonCode.LOW_POWER: "the test trips are few for this margin",
}


def verdict_sentence(record: RunRecord) -> str:
    """Return what was decided about the run's model and why, without what happened since."""
    decision, report = record.decision, record.report
    if decision is None:
        return f"Nothing is decided yet about the model that is to be tested on the trips of {record.months}."
    compared = comparison(report) if report is not None else ""
    match record.outcome:
        case Outcome.REJECTED:
            return f"Rejected, because {why_rejected(decision)}.{compared and f' {compared}'}"
        case Outcome.UNCHANGED:
            return "Nothing to promote: the new model answers every test trip as the one that serves."
        case Outcome.EVALUATED:
            return f"The gate accepts the model, and the run was not to promote it. {compared}".rstrip()
    overridden = _overridden(decision)
    return f"The gate accepts the model{overridden}. {compared}".rstrip()


def outcome_sentence(record: RunRecord) -> str:
    """Return what has happened to an accepted model since; empty if there is nothing to add."""
    found = record.rollout
    match record.outcome:
        case Outcome.DECLINED if record.approval is not None:
            return _declined(record)
        case Outcome.ACCEPTED:
            return "It has no traffic yet."
        case Outcome.ROLLING_OUT if found is not None:
            following = f"; next is {found.next_step.percent}\N{NO-BREAK SPACE}%" if found.next_step else ""
            return f"It has {found.percent}\N{NO-BREAK SPACE}% of the traffic now{following}."
        case Outcome.ROLLED_BACK if found is not None:
            reason = found.reason.rstrip(".") or "no reason was recorded"
            return f"Its traffic went back at {found.percent} %: {reason}."
        case Outcome.PROMOTED if found is not None and found.served_from is not None:
            return f"It has had all of the traffic since {clock(found.served_from)}."
    return ""


def comparison(report: Report) -> str:
    """Return how the model's error compares with the champion's on the same trips, as a sentence."""
    ours = report.challenger.metrics.mae
    trips = f"on {report.rows.test:,} test trips"
    if report.champion is None or report.difference is None:
        return f"Its mean absolute error is {shown(ours)} USD {trips}; it was compared with no champion."
    found, theirs = report.difference.mae, report.champion.metrics.mae
    return (
        f"Its mean absolute error is {shown(ours)} USD {trips}, {_difference(found)} the champion's "
        f"{shown(theirs)} USD (95 % interval of the difference {shown(found.low, 3, '+')} to "
        f"{shown(found.high, 3, '+')})."
    )


def why_rejected(decision: Decision) -> str:
    """Return the reasons that count, each kind once, joined as in `a, b and c`."""
    forgiven = decision.override.codes if decision.override else frozenset()
    every = list(dict.fromkeys(_plain(reason) for reason in decision.reasons if reason.code not in forgiven))
    if len(every) < 2:  # noqa: PLR2004  # one reason needs no "and"
        return "".join(every) or "of no reason that was recorded"
    return f"{', '.join(every[:-1])} and {every[-1]}"


def clock(moment: datetime) -> str:
    """Return a time for people, in UTC."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _plain(reason: Reason) -> str:
    return _WHY[reason.code]


def _difference(found: Interval) -> str:
    if found.estimate is None:
        return "which cannot be compared with"
    side = "below" if found.estimate < 0 else "above"
    return f"{shown(abs(found.estimate), 3)} {side}"


def _overridden(decision: Decision) -> str:
    if decision.override is None or not decision.reasons:
        return ""
    person = f" by {decision.override.by}" if decision.override.by else ""
    return f" because its reasons against it were overridden{person}: {decision.override.reason}"


def _declined(record: RunRecord) -> str:
    approval = record.approval
    if approval is None or approval.answer is Answer.TIMED_OUT:
        return "Nobody approved it in time, so that it was not promoted."
    reason = f": {approval.reason.rstrip('.')}" if approval.reason else ""
    return f"{approval.by or 'A person'} declined to promote it{reason}."
