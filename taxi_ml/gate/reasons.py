"""The reasons for a decision: the rules that a challenger breaks, and those that only warn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ReasonCode(StrEnum):
    """The kinds of reasons to reject a challenger, and of warnings about it."""

    CHAMPION_MISSING = "champion_missing"
    CHAMPION_NEWER = "champion_newer"
    METRIC_MISSING = "metric_missing"
    SLICES_MISSING = "slices_missing"
    TOO_FEW_ROWS = "too_few_rows"
    ABOVE_CEILING = "above_ceiling"
    ABOVE_MARGIN = "above_margin"
    ABOVE_BASELINE_MARGIN = "above_baseline_margin"
    ABOVE_ANCHOR_MARGIN = "above_anchor_margin"
    BASELINE_MISSING = "baseline_missing"
    SLICE_WORSE = "slice_worse"
    SLICE_WORSE_THAN_BASELINE = "slice_worse_than_baseline"
    DATA_ANOMALY = "data_anomaly"
    DATA_SKEW = "data_skew"
    TUNER_UNHEALTHY = "tuner_unhealthy"
    NOT_BLESSED = "not_blessed"
    DATA_DRIFT = "data_drift"
    DRIFT_MISSING = "drift_missing"
    SKEW_MISSING = "skew_missing"
    LOW_POWER = "low_power"
    REFIT_DIFFERS = "refit_differs"


NEVER_OVERRIDDEN: Final = frozenset({ReasonCode.METRIC_MISSING, ReasonCode.SLICES_MISSING})
"""A number that was never computed cannot be overridden."""

ONLY_WARN: Final = frozenset(
    {
        ReasonCode.DATA_DRIFT,
        ReasonCode.DRIFT_MISSING,
        ReasonCode.SKEW_MISSING,
        ReasonCode.LOW_POWER,
        ReasonCode.REFIT_DIFFERS,
    }
)
"""These never reject, so that there is nothing to override."""

OVERRIDABLE: Final = frozenset(ReasonCode) - NEVER_OVERRIDDEN - ONLY_WARN

FORGIVEN: Final = frozenset(
    {
        ReasonCode.ABOVE_CEILING,
        ReasonCode.ABOVE_BASELINE_MARGIN,
        ReasonCode.ABOVE_ANCHOR_MARGIN,
        ReasonCode.SLICE_WORSE,
        ReasonCode.SLICE_WORSE_THAN_BASELINE,
        ReasonCode.DATA_SKEW,
    }
)
"""These only warn about a challenger that is certainly better than the champion.

Rejecting it would keep a model that is worse for users.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One rule that the challenger breaks.

    `slice` is None if the rule is about all rows, `observed` if it is missing. `required` describes the
    values that pass.
    """

    code: ReasonCode
    metric: str
    slice: str | None = None
    observed: float | str | None
    required: str

    def __str__(self) -> str:
        """Return the reason as one line."""
        where = "" if self.slice is None else f" in {self.slice}"
        seen = f"{self.observed:.4g}" if isinstance(self.observed, float) else self.observed or "missing"
        return f"{self.code}: {self.metric}{where} is {seen}; required: {self.required}"


def missing(metric: str, part: str | None = None) -> Reason:
    """Return the reason that a number which a rule needs is missing or not finite."""
    return Reason(
        code=ReasonCode.METRIC_MISSING, metric=metric, slice=part, observed=None, required="a finite number"
    )


def finite(value: float | None) -> float | None:
    """Return the number, or None if it is missing or not finite."""
    return None if value is None or not math.isfinite(value) else value
