"""Every reason of the gate, word for word: a person decides by them whether to override."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from taxi_ml.gate.decision import Override, OverrideError, decide
from taxi_ml.gate.metrics import Interval, Role
from taxi_ml.gate.reasons import OVERRIDABLE
from taxi_ml.gate.report import Anomaly
from taxi_ml.splits import Split
from tests.taxi_ml import reports
from tests.taxi_ml.reports import POLICY, a_report, metrics, slice_of

if TYPE_CHECKING:
    from taxi_ml.gate.report import Report

STRICT = replace(
    POLICY,
    require_tuner=True,
    min_rows=replace(POLICY.min_rows, test=300),
    baseline=replace(POLICY.baseline, required=True),
)


def _tuned(**changes: Any) -> Report:  # noqa: ANN401  # fields of a Tuning
    given = a_report()
    if given.tuner is None:
        pytest.fail("the report has a tuner")
    return replace(given, tuner=replace(given.tuner, **changes))


def _champion_without_numbers() -> Report:
    given = a_report()
    if given.champion is None:
        pytest.fail("the report has a champion")
    unknown = replace(given.champion, metrics=metrics(None, None))
    return replace(given, champion=unknown)


def _with_slice(mae: float, *, with_champion: bool) -> Report:
    ours, theirs = metrics(20, mae, 50), metrics(20, 9.0, 50)
    part = slice_of("TripStartHour", "3", ours, theirs if with_champion else None, theirs)
    return replace(a_report(), slices=(*a_report().slices, part))


def _of_few_rows() -> Report:
    few = metrics(4.4, 2.4, 299)
    return replace(
        a_report(with_champion=False),
        rows=replace(a_report().rows, test=299),
        challenger=replace(a_report().challenger, metrics=few),
        references=(reports.reference(Role.BASELINE, few, few),),
    )


def _compared(low: float | None, estimate: float | None, high: float | None, error: float = 0.015) -> Report:
    given = a_report()
    if given.difference is None:
        pytest.fail("the report compares")
    found = Interval(low=low, estimate=estimate, high=high, error=error)
    return replace(given, difference=replace(given.difference, mae=found))


def _anomalies() -> tuple[Anomaly, ...]:
    strange = Anomaly(split=Split.TEST, feature="fare", description="too high", kind="")
    tolerated = replace(strange, kind=next(iter(POLICY.anomalies.tolerated_kinds)))
    return (tolerated, strange)


WORDS = {
    "few test rows": (_of_few_rows(), ["too_few_rows: test rows is 299; required: at least 300"]),
    "no interval": (
        replace(a_report(), difference=None),
        [
            f"metric_missing: {metric}: high end of the difference from the champion is missing; "
            "required: a finite number"
            for metric in ("mae", "clipped_rmse")
        ],
    ),
    "half an interval": (
        _compared(-0.2, -0.05, None),
        [
            (
                "metric_missing: mae: high end of the difference from the champion is missing; "
                "required: a finite number"
            )
        ],
    ),
    "worse than the margin": (
        _compared(-0.2, -0.05, 0.06),
        [
            (
                "above_margin: mae: high end of the difference from the champion is 0.06; "
                "required: at most 0.049 USD, 2 % of its 2.45 USD"
            )
        ],
    ),
    "no baseline": (
        replace(
            a_report(),
            references=(),
            slices=tuple(
                replace(part, baseline=None, baseline_difference=None) for part in a_report().slices
            ),
        ),
        [
            (
                "baseline_missing: baseline is missing; "
                "required: a model of the run's own training rows to compare with"
            )
        ],
    ),
    "champion without numbers": (
        _champion_without_numbers(),
        [
            "metric_missing: mae of the champion is missing; required: a finite number",
            "metric_missing: clipped_rmse of the champion is missing; required: a finite number",
        ],
    ),
    "one table of slices is missing": (
        replace(a_report(), slices=a_report().slices[1:]),
        [f"slices_missing: slices in {POLICY.slices.features[0]} is missing; required: a table of slices"],
    ),
    "bad slice": (
        _with_slice(12.0, with_champion=True),
        [
            (
                "slice_worse: difference in mae from the champion in TripStartHour=3 is 3; "
                "required: not certainly above 0.9 USD, 10 % of its 9 USD"
            ),
            (
                "slice_worse_than_baseline: difference in mae from the baseline in TripStartHour=3 is 3; "
                "required: not certainly above 2.25 USD, 25 % of its 9 USD"
            ),
        ],
    ),
    "slice without the champion": (
        _with_slice(9.0, with_champion=False),
        [
            (
                "metric_missing: difference in mae from the champion in TripStartHour=3 is missing; "
                "required: a finite number"
            )
        ],
    ),
    "anomaly": (
        replace(a_report(), anomalies=_anomalies()),
        ["data_anomaly: test fare is too high; required: no anomaly"],
    ),
    "skew": (
        replace(a_report(), skew=(reports.drift(0.4, 0.3, Split.TEST),)),
        [
            ("data_skew: test pickup_census_tract linf from its own training is 0.4; required: at most 0.25"),
            (
                "data_skew: test pickup_census_tract new categories from its own training is 0.3; "
                "required: at most 0.2"
            ),
        ],
    ),
    "skew without a number": (
        replace(a_report(), skew=(reports.drift(None, split=Split.TEST),)),
        [
            (
                "metric_missing: test pickup_census_tract linf from its own training is missing; "
                "required: a finite number"
            )
        ],
    ),
    "no Tuner": (
        replace(a_report(), tuner=None),
        ["tuner_unhealthy: tuner trials is missing; required: a Tuner that ran"],
    ),
    "no trial": (_tuned(trials=0), ["tuner_unhealthy: tuner trials is 0; required: a best trial"]),
    "one trial": (_tuned(trials=1), []),
    "no choice": (_tuned(best={}), ["tuner_unhealthy: tuner trials is 2; required: a best trial"]),
    "no score": (
        _tuned(best_score=None),
        ["tuner_unhealthy: tuner val_rmse is missing; required: a finite score"],
    ),
    "no blessing": (
        replace(a_report(), blessed=None),
        ["not_blessed: blessing is missing; required: blessed"],
    ),
}


@pytest.mark.parametrize(("given", "told"), WORDS.values(), ids=WORDS.keys())
def test_each_reason_says_what_and_where(given: Report, told: list[str]) -> None:
    """Each reason has its code, metric, slice, observed and required value."""
    assert [str(reason) for reason in decide(STRICT, given).reasons] == told


WARNINGS = {
    "no training rows of the champion": (
        replace(a_report(), drift=()),
        "warning: drift_missing: drift is missing; required: the champion's training rows",
    ),
    "no training rows of the challenger": (
        replace(a_report(), skew=()),
        "warning: skew_missing: skew is missing; required: the challenger's training rows",
    ),
    "drift": (
        replace(a_report(), drift=(reports.drift(0.2),)),
        (
            "warning: data_drift: train pickup_census_tract linf from the champion's training is 0.2; "
            "required: at most 0.15"
        ),
    ),
    "few rows for the margin": (
        _compared(-0.2, -0.05, 0.0, error=0.05),
        (
            "warning: low_power: probability that an equal model passes is 0.1636; "
            "required: 0.8, which needs 3270 test rows: give more test months"
        ),
    ),
}


@pytest.mark.parametrize(("given", "told"), WARNINGS.values(), ids=WARNINGS.keys())
def test_each_warning_is_in_the_log(given: Report, told: str) -> None:
    """A warning has its code, metric, observed and required value, and does not reject."""
    decision = decide(POLICY, given)

    assert decision.reasons == ()
    assert decision.describe().splitlines()[1] == told


@pytest.mark.parametrize(
    ("reason", "names", "told"),
    [
        ("", ["not_blessed"], "an override needs a written reason"),
        (
            "because",
            ["nonsense", "typo"],
            f"nonsense, typo is not a reason code; the codes are {', '.join(sorted(OVERRIDABLE))}",
        ),
    ],
)
def test_each_refusal_of_an_override_says_why(reason: str, names: list[str], told: str) -> None:
    """An override that cannot count is refused with a message that says what to write."""
    with pytest.raises(OverrideError) as raised:
        Override.of(reason, names)

    assert str(raised.value) == told


def test_all_overridden_codes_are_listed() -> None:
    """The log names each code that did not count."""
    override = Override.of("stale", ["not_blessed", "data_anomaly"])

    line = decide(POLICY, a_report(), override).describe().splitlines()[-1]

    assert line == "overridden data_anomaly, not_blessed: stale"
