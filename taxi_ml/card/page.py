"""Renders the report and the decision into the template."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from taxi_ml.card import plots

if TYPE_CHECKING:
    from taxi_ml.gate.decision import Decision
    from taxi_ml.gate.report import Report

_FOLDER = Path(__file__).parent
_TEMPLATE = "card.html.jinja"


def render(report: Report, decision: Decision, *, sizing: str = "") -> str:
    """Return the page; equal arguments give equal pages, and their strings are escaped.

    `sizing` describes the samples of the window's trips; an empty string leaves it out.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fixed"] = plots.shown
    return environment.get_template(_TEMPLATE).render(
        report=report,
        decision=decision,
        sizing=sizing,
        metrics=plots.metric_rows(report),
        margins=plots.margin_rows(report, decision.policy),
        differences=plots.difference_bars(report),
        slices=plots.slice_rows(report, decision.policy.slices.min_rows),
        residuals=plots.residual_bars(report.fit) if report.fit else None,
        calibration=plots.calibration_dots(report.fit) if report.fit else None,
        drift=plots.distance_rows(report.drift, decision.policy.drift),
        skew=plots.distance_rows(report.skew, decision.policy.skew),
        trials=plots.trial_rows(report.tuner) if report.tuner else (),
    )
