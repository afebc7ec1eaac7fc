"""The model card: the content of the page, for every kind of run."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taxi_ml.card import render
from taxi_ml.card.plots import WIDTH, calibration_dots, difference_bars, margin_rows, shown
from taxi_ml.gate.champion import Champion
from taxi_ml.gate.decision import Override, decide
from taxi_ml.gate.distributions import Fit
from taxi_ml.gate.metrics import Difference, Interval
from taxi_ml.gate.reasons import ReasonCode
from taxi_ml.gate.report import Anomaly, parse
from taxi_ml.gate.schema import Change, SchemaDifference
from taxi_ml.splits import Split
from tests.taxi_ml import reports
from tests.taxi_ml.reports import POLICY, a_fit, a_report, metrics, with_metrics

if TYPE_CHECKING:
    from taxi_ml.gate.policy import Policy
    from taxi_ml.gate.report import Report

ABOVE = {ReasonCode.ABOVE_MARGIN, ReasonCode.ABOVE_BASELINE_MARGIN, ReasonCode.ABOVE_ANCHOR_MARGIN}


def card(given_report: Report, override: Override | None = None, policy: Policy = POLICY) -> str:
    """Return the page of a report with the gate's decision about it."""
    return render(given_report, decide(policy, given_report, override))


def test_card_shows_both_models_with_the_interval() -> None:
    """Challenger and champion are shown beside each other, the difference with its 95 % interval."""
    page = re.sub(r' data-name="[^"]*"', "", card(a_report()))

    assert re.search(r"RMSE</td><td>4.40</td><td>4.50</td>\s*<td>-0.100</td><td>-0.130 to -0.070</td>", page)


def test_card_shows_what_each_margin_allows() -> None:
    """Each high end is shown beside the most that the policy allows, 2 % and 4 % of the champion's errors."""
    page = re.sub(r"<[^>]*>", "", card(a_report()))

    assert re.search(
        r"from the champion:\s+MAE -0.020 of at most 0.049 USD;\s+clipped RMSE -0.070 of at most 0.180 USD",
        page,
    )
    assert all(f"High end of the difference from the {role}:" in page for role in ("baseline", "anchor"))


def test_card_shows_references_warnings_and_power() -> None:
    """The other models, what only warns and how much the rows could show are on the page."""
    page = card(replace(a_report(), skew=()))

    assert "Baseline boosted trees: RMSE 4.70" in page
    assert "Anchor " in page
    assert "skew_missing: skew is missing" in page
    assert re.search(r"with a probability of 89 %;\s+307 trips give 80 %", page)
    assert "On the 352 trips of a known distance above 0" in page


def test_card_says_that_nothing_changed() -> None:
    """A challenger that answers as the champion does is neither promoted nor rejected."""
    assert '<span class="verdict unchanged">unchanged</span>' in card(replace(a_report(), unchanged=True))


def test_card_says_what_was_sampled() -> None:
    """The trips of the window are shown beside those that were used, if they are known."""
    report = a_report()
    text = "train 64,102,331 trips, sampled to 1,500,000 (2.3 %)"
    page = render(report, decide(POLICY, report, None), sizing=text)

    assert f"In the window: {text}" in page
    assert "In the window" not in card(report)


def test_card_needs_nothing_else() -> None:
    """The page names no other address that a browser would load."""
    page = card(a_report())

    assert not re.search(r"<(script|link|img)|url\(|https?:|@import", page)


def test_card_shows_drift_tuner_and_hashes() -> None:
    """Distances, trials and the digests of code, spec and data are on the page."""
    page = card(a_report())

    assert all(text in page for text in ("train pickup_census_tract", "0.010", "learning_rate", "4.2000"))
    assert all(f"<code>{digest}</code>" in page for digest in ("a1", "b2", "c3"))


def test_card_shows_how_the_columns_differ() -> None:
    """A column that differs from the reviewed schema is on the page; without one the page says so."""
    found = SchemaDifference(feature="fare", change=Change.TYPE, reviewed="FLOAT", inferred="INT")
    page = card(replace(a_report(), schema=(found,)))

    assert "Type <code>fare</code>: INT in the trips, FLOAT in the reviewed schema" in page
    assert "The trips have the columns of the reviewed schema" in card(a_report())


def test_card_of_a_rejection_has_every_reason() -> None:
    """A rejected model's page has the reasons, and who overrode which."""
    override = Override.of("known to be stale", ["not_blessed"], by="ada")
    page = card(replace(a_report(), blessed=False), override)

    assert all(text in page for text in ("not_blessed", "overridden", "by ada: known to be stale"))


def test_card_names_a_champion_that_was_not_compared_with() -> None:
    """A page without a comparison does not claim that nothing served."""
    given_report = a_report(with_champion=False)
    page = render(given_report, decide(POLICY, given_report, serving=Champion(name="projects/p/models/m@3")))

    assert "<code>projects/p/models/m@3</code>, not compared</dd>" in page
    assert "no model in production" not in page


def test_texts_of_the_report_are_escaped() -> None:
    """Strings of a report cannot become markup."""
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


@settings(max_examples=100, deadline=None)
@given(reports.policies(), reports.reports())
def test_margins_are_broken_where_the_gate_says_so(policy: Policy, given_report: Report) -> None:
    """The gate has a reason or a warning for each margin that the card shows as broken, and for no other."""
    decision = decide(policy, given_report)
    found = (*decision.reasons, *decision.warnings)
    said = {reason.metric for reason in found}
    above = {reason.metric for reason in found if reason.code in ABOVE}
    broken = {
        f"{row.metric.lower().replace(' ', '_')}: high end of the difference from the {other}"
        for other, rows in margin_rows(given_report, policy)
        for row in rows
        if not row.is_within
    }

    assert above <= broken
    assert all(
        metric in said or metric.replace(": high end of the difference from", " of") in said
        for metric in broken
    )


FINITE = st.floats(allow_nan=False, allow_infinity=False)
EXTREME = st.sampled_from(
    [0.0, -0.0, 5e-324, -5e-324, 1e6, 1e12, 1e300, -1e300, sys.float_info.max, -sys.float_info.max]
)
NUMBERS = st.one_of(FINITE, EXTREME)
SIZES = NUMBERS.map(abs)
COUNTS = st.one_of(st.integers(0, 1000), st.sampled_from([0, 2**63 - 1]))


NEVER_NEGATIVE = {"rmse", "clipped_rmse", "mae", "distance", "error"}


def filled(template: object, data: st.DataObject) -> Any:  # noqa: ANN401  # any JSON
    """Draw another number for each number of a document; numbers that are never negative stay so."""
    if isinstance(template, dict):
        return {
            key: data.draw(st.none() | SIZES) if key in NEVER_NEGATIVE and _is_number(value)
            else data.draw(COUNTS) if key == "count"
            else filled(value, data)
            for key, value in template.items()
        }  # fmt: skip
    if isinstance(template, list):
        return [filled(each, data) for each in template]
    return data.draw(NUMBERS) if _is_number(template) else template


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_page_is_of_bounded_size_whatever_the_numbers(data: st.DataObject) -> None:
    """Any numbers of a report make a page of the usual size whose drawings have only finite coordinates."""
    document = json.loads(a_report().to_json())
    for name in ("slices", "drift", "skew", "fit", "tuner"):
        document[name] = filled(document[name], data)
    for part in document["slices"]:
        count = data.draw(COUNTS)
        part["count"] = count
        for model in ("challenger", "champion", "baseline"):
            part[model]["count"] = count
        part["difference"] = part["baseline_difference"] = None
    document["tuner"]["trials"] = 2
    page = card(parse(json.dumps(document)))
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    places = [
        float(place)
        for drawing in drawings
        for place in re.findall(r' (?:x|y|cx|cy|r|x1|x2|y1|y2|width|height)="([^"]*)"', drawing)
    ]

    assert len(page) < USUAL_SIZE + 5_000
    assert all(-10 <= place <= WIDTH for place in places)


USUAL_SIZE = len(card(a_report()))


@pytest.mark.parametrize("usd", [1e6, 1e12, 1e300, sys.float_info.max])
def test_differences_of_any_size_are_drawn_inside(usd: float) -> None:
    """The interval of a diverged challenger stays within the drawing, and so does one of both signs."""
    diverged = with_metrics(replace(a_report(), references=()), metrics(usd, usd))
    interval = Interval(estimate=usd, low=-usd, high=usd)
    bars = difference_bars(
        replace(diverged, difference=Difference(rmse=interval, clipped_rmse=interval, mae=interval))
    )

    assert {bar.name for bar in bars} == {"RMSE", "MAE"}
    assert all(0 <= place <= WIDTH for bar in bars for place in (bar.low, bar.estimate, bar.high, bar.zero))
    assert all(bar.low < bar.zero < bar.high for bar in bars)


def test_mean_that_is_not_finite_has_no_dot() -> None:
    """A band in which a model predicted no number is left out of the calibration."""
    fit = a_fit(with_champion=True)
    bands = tuple(replace(band, challenger=None) for band in fit.bands)
    found = calibration_dots(replace(fit, bands=bands))

    assert (len(found.challenger), len(found.champion)) == (0, 2)


def test_plots_of_any_length_are_bounded_by_pixels() -> None:
    """A million residuals and bands make no more bars, marks and dots than a plot has room for."""
    count = 100_000
    fit = Fit(
        bands=a_fit(with_champion=True).bands * count,
        edges=tuple(5.0 * edge for edge in range(count + 1)),
        residuals=(1.0,) * count,
        champion_residuals=(1.0,) * count,
    )

    assert len(card(replace(a_report(), fit=fit))) < USUAL_SIZE + 30_000


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), (2.345, "2.35"), (-0.0, "0.00"), (-1e-9, "0.00"), (1e300, "1e+300"), (-2e6, "-2e+06")],
)
def test_number_fits_its_cell(value: float | None, text: str) -> None:
    """A number that is too long for a cell is written by its magnitude, and zero has no sign."""
    assert shown(value) == text


@settings(max_examples=30, deadline=None)
@given(reports.policies(), reports.reports())
def test_every_report_has_a_card(policy: Policy, given_report: Report) -> None:
    """Every report that the gate can read has a complete page with its decision, window and reasons."""
    decision = decide(policy, given_report)
    page = render(given_report, decision)
    codes = re.findall(r"<tr><td>(\w+)\s*(?:<span|</td>)", page.partition("<h2>Test trips")[0])

    assert page.endswith("</html>")
    assert f'<span class="verdict {decision.verdict}">{decision.verdict}</span>' in page
    assert f"<h1>Fares of {given_report.window}</h1>" in page
    assert codes == [reason.code for reason in decision.reasons]
