"""Reading decision.json back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from taxi_ml.gate import kept
from taxi_ml.gate.decision import Override, decide
from taxi_ml.gate.kept import DecisionError
from tests.taxi_ml import reports
from tests.taxi_ml.reports import POLICY, a_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from taxi_ml.gate.policy import Policy
    from taxi_ml.gate.report import Report


@given(reports.policies(), reports.reports())
def test_decision_survives_json(policy: Policy, report: Report) -> None:
    """A decision is read back as it was written."""
    decision = decide(policy, report)

    assert kept.parse(decision.to_json()) == decision


def test_override_survives_json() -> None:
    """The override, with its person and reason, is read back, too."""
    decision = decide(POLICY, a_report(), Override.of("stale", ["not_blessed", "slice_worse"], by="ada"))

    assert kept.parse(decision.to_json().encode()) == decision


def test_parameters_survive_json() -> None:
    """The pipeline's parameters are read back; an older decision has none."""
    decision = replace(decide(POLICY, a_report()), parameters={"window": "2015-07_train24_test1"})
    older = json.loads(decision.to_json())
    del older["parameters"]

    assert kept.parse(decision.to_json()) == decision
    assert kept.parse(json.dumps(older)).parameters == {}


def test_earlier_name_of_the_requests_digest_is_read() -> None:
    """A decision that calls the compile request's digest `spec` is read as one that calls it `request`."""
    decision = decide(POLICY, a_report())
    earlier = json.loads(decision.to_json())
    earlier["hashes"]["spec"] = earlier["hashes"].pop("request")

    assert kept.parse(json.dumps(earlier)) == decision


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda d: d.update(schema_version=0), "schema_version is 0; this gate reads 2"),
        (
            lambda d: d.update(verdict="maybe"),
            "verdict is 'maybe'; it must be one of promote, reject, unchanged",
        ),
        (lambda d: d.pop("warnings"), "decision has no warnings"),
        (lambda d: d.update(rows_needed=-1), "rows_needed is -1; it must be a whole number, 0 or more"),
        (lambda d: d.update(power="much"), "power is 'much'; it must be a finite number"),
        (lambda d: d.pop("hashes"), "decision has no hashes"),
        (lambda d: d.update(extra=1), "decision has unknown fields: extra"),
        (lambda d: d["policy"].pop("drift"), "decision.policy has no drift"),
        (
            lambda d: d.update(override={"reason": "", "codes": ["not_blessed"], "by": ""}),
            "needs a written reason",
        ),
        (lambda d: d.update(override={"reason": "x", "codes": ["no"], "by": ""}), "no is not a reason code"),
        (lambda d: d.update(champion=7), "champion is 7; it must be a string"),
    ],
)
def test_bad_decision_is_an_error_that_names_it(
    edit: Callable[[dict[str, Any]], object], problem: str
) -> None:
    """A document that the gate did not write is refused with the place of the problem."""
    document = json.loads(decide(POLICY, a_report()).to_json())
    edit(document)

    with pytest.raises(DecisionError, match=problem):
        kept.parse(json.dumps(document))


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "9" * 5000])
def test_text_of_no_decision_is_an_error(text: str) -> None:
    """Invalid JSON, or JSON of another kind, is not a decision."""
    with pytest.raises(DecisionError):
        kept.parse(text)
