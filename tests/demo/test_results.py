"""The summary that the demo prints after a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from demo.results import Quote, Results
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
        (a_report(), "difference RMSE -0.100 USD (-0.130 to -0.070), MAE -0.050 USD (-0.080 to -0.020)"),
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


@pytest.mark.parametrize(
    ("low", "high", "fares"),
    [
        (30.5, 44.0, "36.11 USD predicted (30.50 to 44.00), 34.25 USD paid"),
        (None, None, "36.11 USD predicted (unknown to unknown), 34.25 USD paid"),
    ],
)
def test_a_quote_has_its_range(low: float | None, high: float | None, fares: str) -> None:
    """A quote is told with its range, the fare that was paid, and the trip."""
    trip = {"rawDistance": 24_800.0, "TripStartHour": 6.0}
    quote = Quote(predicted=36.11, low=low, high=high, paid=34.25, features=trip)

    assert quote.describe() == f"{fares}, for 24.8 km in a straight line, at 6:00"
