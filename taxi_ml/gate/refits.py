"""The refit of a challenger: trained again with the test rows, served if it answers much like it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxi_ml.gate.metrics import is_finite
from taxi_ml.gate.reasons import Reason, ReasonCode, finite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taxi_ml.gate.fields import Fields
    from taxi_ml.gate.policy import RefitRules
    from taxi_ml.gate.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """A refit minus the model that was judged, over the test rows, USD; `uri` is its SavedModel's folder.

    The refit has learned from these rows, so that its own errors on them say nothing; how far it is from the
    judged model does.
    """

    uri: str
    mean_absolute: float | None
    mean_signed: float | None


def differences(rules: RefitRules, report: Report) -> Iterator[Reason]:
    """Yield the reasons to serve the judged model instead of its refit, none without a refit."""
    if report.refit is None:
        return
    mae = report.challenger.metrics.mae
    for metric, most in (("mean_absolute", rules.mean_absolute), ("mean_signed", rules.mean_signed)):
        observed: float | None = getattr(report.refit, metric)
        allowed = most * mae if is_finite(mae) else None
        # A number that is missing proves nothing, and so counts as too large.
        if allowed is None or not is_finite(observed) or abs(observed) > allowed:
            required = "a finite number" if allowed is None else f"at most {allowed:.4g} USD either way"
            yield Reason(
                code=ReasonCode.REFIT_DIFFERS,
                metric=f"{metric} of the refit minus the judged model",
                observed=finite(observed),
                required=required,
            )


def refit(fields: Fields) -> Refit:
    """Read a refit."""
    return Refit(
        uri=fields.text("uri"),
        mean_absolute=fields.size_or_none("mean_absolute"),
        mean_signed=fields.number_or_none("mean_signed"),
    )
