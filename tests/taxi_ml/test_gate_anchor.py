"""The choice of the earlier champion that bounds losses over many months."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxi_ml.gate.anchor import SKILL_LABEL, Candidate, best_first, skill
from taxi_ml.gate.metrics import Role
from tests.taxi_ml.reports import a_report, metrics

RUN = "2015-07_train24_test1"


def candidate(version: int, skill: str, window: str, **labels: str) -> Candidate | None:
    """Return a version with these labels."""
    name = f"projects/1/locations/l/models/7@{version}"
    return Candidate.of(name=name, uri="gs://b/m", labels={"window": window, SKILL_LABEL: skill, **labels})


def chosen(*candidates: Candidate | None, window: str = RUN) -> list[str]:
    """Return the versions' numbers, in the order in which they are tried."""
    return [each.model.name.partition("@")[2] for each in best_first(filter(None, candidates), window)]


def test_the_best_comes_first_and_the_newest_of_equals() -> None:
    """The order is that of the skill, in which less is better, and then of the windows."""
    order = chosen(
        candidate(1, "0940", "2015-03_train24_test1"),
        candidate(2, "0931", "2014-11_train24_test1"),
        candidate(3, "0931", "2015-05_train24_test1"),
    )

    assert order == ["3", "2", "1"]


@pytest.mark.parametrize(
    ("window", "suits"),
    [
        ("2014-06_train24_test1", False),
        ("2014-07_train24_test1", True),
        ("2015-06_train24_test1", True),
        ("2015-07_train24_test1", False),
        ("2015-08_train24_test1", False),
        ("2015-06_train24_test01", False),
        ("", False),
    ],
)
def test_only_the_last_twelve_months_before_the_run(window: str, suits: bool) -> None:  # noqa: FBT001  # a case
    """Its window ends at least one month and at most twelve months before the run's, and is known."""
    assert bool(chosen(candidate(1, "0931", window))) is suits


def test_a_model_of_the_test_months_is_passed_over() -> None:
    """A run that tests on April to June is not compared with what was trained until May."""
    known = (
        candidate(1, "0900", "2015-06_train24_test1"),
        candidate(2, "0950", "2015-04_train24_test1"),
        candidate(3, "0800", "2015-05_train24_test1", trained_from="2013-04-01", trained_until="2015-05-01"),
    )

    assert chosen(*known, window="2015-07_train24_test3") == ["2"]


@pytest.mark.parametrize("label", ["", "best", "0.931", "-931", "٠٩٣١"])
def test_a_version_without_a_skill_is_no_candidate(label: str) -> None:
    """An earlier version has no such label, and another application's may mean something else."""
    assert candidate(1, label, "2015-05_train24_test1") is None


def test_skill_is_the_ratio_to_the_baseline_in_thousandths() -> None:
    """The report's two errors on the same rows make the label, four digits within Google's rules."""
    report = a_report()
    baseline = report.reference(Role.BASELINE)
    ours = report.challenger.metrics.mae

    assert baseline is not None
    assert baseline.metrics.mae is not None
    assert ours is not None
    assert skill(report) == f"{round(1000 * ours / baseline.metrics.mae):04d}"


@pytest.mark.parametrize("mae", [None, 0.0])
def test_no_ratio_is_no_skill(mae: float | None) -> None:
    """A baseline whose error is unknown or 0 gives no label, and so does a report without one."""
    report = a_report()
    baseline = report.reference(Role.BASELINE)

    assert baseline is not None
    broken = replace(baseline, metrics=metrics(None, mae), difference=None)
    assert skill(replace(report, references=(broken,))) == ""
    assert skill(replace(report, references=())) == ""


@given(st.floats(0, 1.7e308), st.floats(1e-300, 1.7e308))
def test_any_skill_is_read_again(ours: float, theirs: float) -> None:
    """The label of any report has four digits, and is one that a later run reads."""
    report = a_report()
    baseline = report.reference(Role.BASELINE)
    assert baseline is not None
    scored = replace(
        report,
        champion=None,
        difference=None,
        slices=(),
        challenger=replace(report.challenger, metrics=metrics(None, ours)),
        references=(replace(baseline, metrics=metrics(None, theirs), difference=None),),
    )
    label = skill(scored)
    read = candidate(1, label, "2015-05_train24_test1")

    assert len(label) == 4
    assert read is not None
    assert read.skill == round(min(1000 * ours / theirs, 9999))


def test_a_version_without_the_label_is_not_a_candidate() -> None:
    """A version of another application has no skill; one that has it keeps its name and folder."""
    found = candidate(1, "0931", RUN)

    assert Candidate.of(name="projects/1/locations/l/models/7@1", uri="gs://b/m", labels={}) is None
    assert found is not None
    assert (found.model.name, found.model.uri) == ("projects/1/locations/l/models/7@1", "gs://b/m")
