"""The summary that the demo prints after a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from demo.results import Results
from taxi_ml.gate.decision import decide
from tests.taxi_ml.reports import POLICY, a_report, metrics, with_metrics

if TYPE_CHECKING:
    from taxi_ml.gate.report import Report


def told(given: Report) -> list[str]:
    """Return the lines about a report and the decision that follows from it, without repeated blanks."""
    results = Results(
        decision=decide(POLICY, given),
        report=given,
        decision_uri="gs://taxi-local/decision.json",
        endpoint="endpoint",
        served="nothing",
        quote=None,
        airflow_url="http://127.0.0.1:1",
    )
    return [" ".join(line.split()) for line in results.describe().splitlines()]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (a_report(), "difference RMSE -0.100 USD (-0.600 to +0.400), MAE -0.100 USD (-0.600 to +0.400)"),
        (a_report(with_champion=False), "difference nothing to compare with"),
        (
            with_metrics(a_report(), metrics(None, 2.4)),
            "challenger RMSE unknown USD, MAE 2.400 USD on 400 test trips",
        ),
        (
            replace(a_report(), unchanged=True),
            "the champion answers every test trip alike, so that no version was made",
        ),
        (replace(a_report(), blessed=None), "not_blessed: blessing is nothing; required blessed"),
        (
            with_metrics(a_report(with_champion=False), metrics(12.34567, 2.0)),
            "above_ceiling: rmse is 12.35; required at most 10 USD",
        ),
    ],
)
def test_a_person_reads_numbers_and_reasons(given: Report, line: str) -> None:
    """The summary has intervals, missing numbers, and reasons with four digits."""
    assert line in told(given)
