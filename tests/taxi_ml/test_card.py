"""The model card: what is on the page, for every kind of run."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings

from taxi_ml.card import render
from taxi_ml.gate.decision import Override, decide
from taxi_ml.gate.report import Anomaly
from taxi_ml.naming import Split
from tests.taxi_ml import reports
from tests.taxi_ml.reports import POLICY, a_report

if TYPE_CHECKING:
    from taxi_ml.gate.policy import Policy
    from taxi_ml.gate.report import Report


def card(given_report: Report, override: Override | None = None, policy: Policy = POLICY) -> str:
    """Return the page of a report as the gate decides about it."""
    return render(given_report, decide(policy, given_report, override))


def test_card_shows_both_models_with_the_interval() -> None:
    """Challenger and champion stand beside each other, the difference with its 95 % interval."""
    page = card(a_report())

    assert re.search(r"RMSE</td><td>4.40</td><td>4.50</td>\s*<td>-0.10</td><td>-0.60 to 0.40</td>", page)


def test_card_needs_nothing_else() -> None:
    """The page names no other address that a browser would load."""
    page = card(a_report())

    assert not re.search(r"<(script|link|img)|url\(|https?:|@import", page)


def test_card_shows_drift_tuner_and_hashes() -> None:
    """Distances, trials and the digests of code, spec and data are on the page."""
    page = card(a_report())

    assert all(text in page for text in ("train pickup_census_tract", "0.010", "learning_rate", "4.2000"))
    assert all(f"<code>{digest}</code>" in page for digest in ("a1", "b2", "c3"))


def test_card_of_a_rejection_has_every_reason() -> None:
    """A rejected model's page says why, and who overrode what."""
    override = Override.of("known to be stale", ["not_blessed"], by="ada")
    page = card(replace(a_report(), blessed=False), override)

    assert all(text in page for text in ("not_blessed", "overridden", "by ada: known to be stale"))


def test_texts_of_the_report_are_escaped() -> None:
    """What a report says cannot become a part of the page."""
    found = Anomaly(split=Split.TEST, feature="fare", description="<script>alert(1)</script>")
    page = card(replace(a_report(), anomalies=(found,)))

    assert "<script>" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("with_champion", [True, False])
def test_plots_are_drawings(with_champion: bool) -> None:  # noqa: FBT001  # a parameter
    """Every SVG is well-formed, and no coordinate is missing."""
    drawings = re.findall(r"<svg.*?</svg>", card(a_report(with_champion=with_champion)), re.DOTALL)

    assert len(drawings) == (3 if with_champion else 2)
    assert all(len(ET.fromstring(drawing)) > 1 for drawing in drawings)  # noqa: S314  # our own text
    assert not any("None" in drawing or "nan" in drawing for drawing in drawings)


@settings(max_examples=30, deadline=None)
@given(reports.policies(), reports.reports())
def test_every_report_has_a_card(policy: Policy, given_report: Report) -> None:
    """No report that the gate can read is without a page, and the same report gives the same page."""
    page = card(given_report, policy=policy)

    assert page == card(given_report, policy=policy)
