from __future__ import annotations

import json
from typing import TYPE_CHECKING

from local_vertex.evidence import LOCAL, checks
from tests.conformance.answers import Answers
from tests.conformance.target import Target

if TYPE_CHECKING:
    from pathlib import Path

TARGET = Target(project="ml", bucket="fares", image="us-docker.pkg.dev/ml/taxi/pipeline:1")


def test_every_question_has_an_expected_answer() -> None:
    """The recorded answers are those of the checks that exist."""
    assert set(json.loads(LOCAL.read_text())) == {check.id for check in checks()}


def test_differences_and_gaps_are_told() -> None:
    """The summary has expected beside observed answers, missing ones, and the number of each."""
    answers = Answers(expected={"model.absent": "NOT_FOUND", "custom.absent": "NOT_FOUND"})
    answers.record("model.absent", "INVALID_ARGUMENT")
    answers.record("custom.absent", "NOT_FOUND")
    *lines, numbers = answers.summary().splitlines()

    assert "model.absent: expected NOT_FOUND, observed INVALID_ARGUMENT" in lines
    assert "pipeline.absent: no answer" in lines
    assert numbers == f"1 same, 1 different, {len(checks()) - 2} unanswered"


def test_the_report_has_question_answers_and_source(tmp_path: Path) -> None:
    """A difference can be judged from the report alone."""
    answers = Answers(expected={"model.absent-alias": "NOT_FOUND"})
    answers.record("model.absent-alias", "INVALID_ARGUMENT", "no such alias")
    answers.write(tmp_path / "report.json", TARGET)
    report = json.loads((tmp_path / "report.json").read_text())
    (row,) = (row for row in report["checks"] if row["id"] == "model.absent-alias")

    assert row == {
        "id": "model.absent-alias",
        "question": "What does reading an absent alias answer?",
        "methods": ["ModelService.GetModel"],
        "basis": "unproven",
        "source": "no source says",
        "outcome": "different",
        "expected": "NOT_FOUND",
        "observed": "INVALID_ARGUMENT",
        "detail": "no such alias",
    }
    assert report["summary"] == {"different": 1, "unanswered": len(checks()) - 1}


def test_the_report_names_nothing_of_the_user() -> None:
    """Project, number, bucket and image are redacted; strings that only look like them are kept."""
    answers = Answers(expected={})
    answers.problems.append("service-123456789@x: html of ml, gs://fares/conformance, " + TARGET.image)
    (problem,) = answers.report(TARGET)["problems"]

    assert problem == "service-NUMBER@x: html of PROJECT, gs://BUCKET/conformance, IMAGE"
