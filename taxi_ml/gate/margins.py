"""The rules about errors: ceilings, and margins against the champion and the references."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taxi_ml.gate.metrics import Role, is_finite
from taxi_ml.gate.reasons import Reason, ReasonCode, finite, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taxi_ml.gate.metrics import Difference, Metrics
    from taxi_ml.gate.policy import BaselineMargins, ChampionMargins, Margins, Policy
    from taxi_ml.gate.report import Report

LEAST_POWER: Final = 0.8
"""Fewer rows than this needs are worth a warning."""

_UPPER: Final = 1.959964
"""Standard errors from the middle of a 95 % interval to its end."""
_UPPER_AND_POWER: Final = _UPPER + 0.841621
"""Standard errors of a margin that an equal model passes with `LEAST_POWER`."""
_LARGEST_COUNT: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """The probability that a model that is equal to the champion passes the margin in MAE.

    `rows_needed` is the number of test rows that makes it 80 %, None if no number does.
    """

    power: float
    rows_needed: int | None


def power(policy: Policy, report: Report) -> Power | None:
    """Return the power of this comparison, by the normal distribution; None if nothing was compared.

    The upper end of an equal model's interval passes if its standard normal estimate is below the margin in
    standard errors, less 1.96. Standard errors fall with the root of the rows (Julious 2004, Sample sizes for
    clinical trials with normal data, section 4).
    """
    if report.champion is None or report.difference is None:
        return None
    error, mae = finite(report.difference.mae.error), finite(report.champion.metrics.mae)
    if error is None or mae is None:
        return None
    margin = policy.margin.mae * mae
    if not error:
        return Power(power=1.0, rows_needed=1)
    times = _UPPER_AND_POWER * error / margin if margin else math.inf
    needed = report.rows.test * times * times
    return Power(
        power=0.5 * math.erfc((_UPPER - margin / error) / math.sqrt(2)),
        rows_needed=math.ceil(needed) if needed < _LARGEST_COUNT else None,
    )


def low_power(known: Power | None) -> Iterator[Reason]:
    """Yield a warning if a model that is equal to the champion would often be rejected."""
    if known is not None and known.power < LEAST_POWER:
        needed = "a margin above 0" if known.rows_needed is None else f"{known.rows_needed} test rows"
        yield Reason(
            code=ReasonCode.LOW_POWER,
            metric="probability that an equal model passes",
            observed=known.power,
            required=f"{LEAST_POWER:g}, which needs {needed}: give more test months",
        )


def ceilings(policy: Policy, report: Report) -> Iterator[Reason]:
    """Yield a reason for each metric above its ceiling."""
    ours = report.challenger.metrics
    for name, seen, most in (
        ("rmse", ours.rmse, policy.max_usd.rmse),
        ("mae", ours.mae, policy.max_usd.mae),
    ):
        if finite(seen) is None:
            yield missing(name)
        elif seen is not None and seen > most:
            yield Reason(
                code=ReasonCode.ABOVE_CEILING,
                metric=name,
                observed=float(seen),
                required=f"at most {most:g} USD",
            )


def against_others(policy: Policy, report: Report) -> Iterator[Reason]:
    """Yield a reason for each margin that the challenger is not certainly within."""
    champion = report.champion
    if champion is not None:
        yield from _within(
            policy.margin, champion.metrics, report.difference, "champion", ReasonCode.ABOVE_MARGIN
        )
    if report.reference(Role.BASELINE) is None and policy.baseline.required:
        yield Reason(
            code=ReasonCode.BASELINE_MISSING,
            metric="baseline",
            observed=None,
            required="a model of the run's own training rows to compare with",
        )
    for role, margins, code in (
        (Role.BASELINE, policy.baseline, ReasonCode.ABOVE_BASELINE_MARGIN),
        (Role.ANCHOR, policy.anchor, ReasonCode.ABOVE_ANCHOR_MARGIN),
    ):
        if (found := report.reference(role)) is not None:
            yield from _within(margins, found.metrics, found.difference, role, code)


def is_better(policy: Policy, report: Report) -> bool:
    """Return True if the challenger is certainly better than the champion, by more than the policy asks."""
    if report.champion is None or report.difference is None:
        return False
    high, mae = finite(report.difference.mae.high), finite(report.champion.metrics.mae)
    return high is not None and mae is not None and high < -policy.margin.better * mae


def _within(
    margins: ChampionMargins | BaselineMargins | Margins,
    theirs: Metrics,
    difference: Difference | None,
    other: str,
    code: ReasonCode,
) -> Iterator[Reason]:
    for name, margin, error, found in (
        ("mae", margins.mae, theirs.mae, difference.mae if difference else None),
        (
            "clipped_rmse",
            margins.clipped_rmse,
            theirs.clipped_rmse,
            difference.clipped_rmse if difference else None,
        ),
    ):
        bar, metric = finite(error), f"{name}: high end of the difference from the {other}"
        if bar is None:
            yield missing(f"{name} of the {other}")
        if found is None or not all(map(is_finite, (found.low, found.estimate, found.high))):
            yield missing(metric)
        elif bar is not None and found.high is not None and found.high > margin * bar:
            yield Reason(
                code=code,
                metric=metric,
                observed=float(found.high),
                required=f"at most {margin * bar:.4g} USD, {100 * margin:.3g} % of its {bar:.4g} USD",
            )
