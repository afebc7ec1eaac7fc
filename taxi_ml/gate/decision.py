"""The decision whether to promote a challenger, with every reason."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from taxi_ml.gate import margins, refits, trips
from taxi_ml.gate.champion import parse_window
from taxi_ml.gate.margins import LEAST_POWER
from taxi_ml.gate.reasons import FORGIVEN, OVERRIDABLE, Reason, ReasonCode, finite
from taxi_ml.gate.slices import worse_slices

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from taxi_ml.gate.champion import Champion
    from taxi_ml.gate.policy import Policy
    from taxi_ml.gate.refits import Refit
    from taxi_ml.gate.report import Hashes, Report
    from taxi_ml.sql.counts import SplitCounts

SCHEMA_VERSION: Final = 2


class Verdict(StrEnum):
    """The gate's verdict on a challenger; one that answers as the champion does leaves nothing to do."""

    PROMOTE = "promote"
    REJECT = "reject"
    UNCHANGED = "unchanged"


class OverrideError(ValueError):
    """An override lacks a written reason, or names a code that cannot be overridden."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A person's decision to disregard some reasons this time; `by` is empty if the person is unknown."""

    reason: str
    codes: frozenset[ReasonCode]
    by: str = ""

    def __post_init__(self) -> None:
        """Check that the override can be audited.

        Raises:
            OverrideError: without a reason or codes, or for codes of missing numbers.

        """
        if not self.reason.strip():
            raise OverrideError("an override needs a written reason")
        if not self.codes:
            raise OverrideError(f"an override needs at least one code; the codes are {_listed(OVERRIDABLE)}")
        if forbidden := self.codes - OVERRIDABLE:
            raise OverrideError(
                f"{_listed(forbidden)} cannot be overridden; give any of {_listed(OVERRIDABLE)}"
            )

    @classmethod
    def of(cls, reason: str, codes: tuple[str, ...] | list[str], *, by: str = "") -> Override:
        """Return the override of these codes, as people write them.

        Raises:
            OverrideError: for a code that does not exist, and as above.

        """
        if unknown := sorted(set(codes) - set(ReasonCode)):
            raise OverrideError(
                f"{', '.join(unknown)} is not a reason code; the codes are {_listed(OVERRIDABLE)}"
            )
        return cls(reason=reason, codes=frozenset(ReasonCode(code) for code in codes), by=by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The verdict on a challenger, every reason against it, and what else a person should know.

    `champion` is None if nothing serves yet; its metrics are None if the challenger was not compared with it.
    `undecided_slices` had too few rows. `warnings` are rules that do not reject. `power` is the probability
    that a model which is equal to the champion passes the margin in MAE on this many rows, `rows_needed` how
    many test rows make that 80 %; both are None without a comparison, `rows_needed` also if no number does.
    `challenger` is the model to serve: the one that was judged, or its refit if `serves_refit`. `refit` is
    None without one. `parameters` are the values that the compiled pipeline ran with.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    override: Override | None
    window: str
    rows: SplitCounts
    challenger: str
    champion: str | None
    rmse: float | None
    mae: float | None
    champion_rmse: float | None
    champion_mae: float | None
    undecided_slices: tuple[str, ...]
    hashes: Hashes
    policy: Policy
    warnings: tuple[Reason, ...] = ()
    power: float | None = None
    rows_needed: int | None = None
    refit: Refit | None = None
    serves_refit: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return decision.json; equal decisions give equal strings."""
        document = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}
        return json.dumps(document, indent=2, sort_keys=True, allow_nan=False, default=sorted)

    def describe(self) -> str:
        """Return the decision as lines for a log: the verdict, each reason, each warning and the power."""
        lines = [f"{self.verdict} {self.challenger} for {self.window}", *map(str, self.reasons)]
        lines += [f"warning: {warning}" for warning in self.warnings]
        if self.power is not None:
            needed = (
                "no number of rows gives" if self.rows_needed is None else f"{self.rows_needed} rows give"
            )
            lines.append(
                f"power: an equal model passes on {self.rows.test} test rows with a probability of "
                f"{self.power:.0%}; {needed} {LEAST_POWER:.0%}"
            )
        if self.refit is not None:
            lines.append(
                f"refit: {'the refit' if self.serves_refit else 'the judged model'} is to serve; the refit's "
                f"fares are {_usd(self.refit.mean_absolute)} from the judged model's on average, "
                f"{_usd(self.refit.mean_signed)} with the sign"
            )
        if self.override is not None:
            person = f" by {self.override.by}" if self.override.by else ""
            lines.append(f"overridden {_listed(self.override.codes)}{person}: {self.override.reason}")
        return "\n".join(lines)


def decide(
    policy: Policy, report: Report, override: Override | None = None, serving: Champion | None = None
) -> Decision:
    """Judge the challenger of `report`; never raises, and returns every reason, not just the first.

    Without a champion only the absolute rules and the baseline apply. A number that is missing or not finite
    is a reason to reject, and so is a model in production that the challenger was not compared with, or not
    fairly; `serving` is None if that model is not known.
    """
    champion = report.champion
    unfair = objections(serving, report.window, compared=champion is not None) if serving else ()
    broken = (*unfair, *_broken(policy, report))
    forgiven = FORGIVEN if margins.is_better(policy, report) else frozenset()
    reasons = tuple(reason for reason in broken if reason.code not in forgiven)
    known = margins.power(policy, report)
    apart = tuple(refits.differences(policy.refit, report))
    refit = report.refit
    metrics = report.challenger.metrics
    name = champion.name if champion else serving.name if serving else ""
    return Decision(
        verdict=_verdict(report, reasons, override),
        reasons=reasons,
        override=override,
        window=report.window,
        rows=report.rows,
        challenger=report.challenger.uri if apart or not refit else refit.uri,
        champion=name or None,
        rmse=finite(metrics.rmse),
        mae=finite(metrics.mae),
        champion_rmse=finite(champion.metrics.rmse) if champion else None,
        champion_mae=finite(champion.metrics.mae) if champion else None,
        undecided_slices=tuple(part.name for part in report.slices if part.count < policy.slices.min_rows),
        hashes=report.hashes,
        policy=policy,
        warnings=(
            *(reason for reason in broken if reason.code in forgiven),
            *trips.drift(policy, report),
            *margins.low_power(known),
            *apart,
        ),
        power=known.power if known else None,
        rows_needed=known.rows_needed if known else None,
        refit=refit,
        serves_refit=refit is not None and not apart,
    )


def _verdict(report: Report, reasons: tuple[Reason, ...], override: Override | None) -> Verdict:
    if report.unchanged:
        return Verdict.UNCHANGED
    # An override stays in the decision with its reasons, and only keeps them from counting.
    against = {reason.code for reason in reasons} - (override.codes if override else frozenset())
    return Verdict.REJECT if against else Verdict.PROMOTE


def objections(champion: Champion, window: str, *, compared: bool) -> tuple[Reason, ...]:
    """Return the reasons against replacing a champion that are known before training.

    `window` is the id of the challenger's window; `compared` is whether the challenger was, or can be,
    compared with the champion's model.
    """
    reasons = []
    if champion.name and not compared:
        reasons.append(
            Reason(
                code=ReasonCode.CHAMPION_MISSING,
                metric=f"SavedModel of {champion.name}",
                observed="missing",
                required=f"saved_model.pb in {champion.uri or 'an artifact_uri'}",
            )
        )
    run = parse_window(window)
    if run is not None and champion.is_later_than(run):
        reasons.append(
            Reason(
                code=ReasonCode.CHAMPION_NEWER,
                metric=f"window of {champion.name}",
                observed=champion.window,
                required=f"not later than {window}",
            )
        )
    if run is not None and champion.training is not None and champion.has_learned_from(run):
        reasons.append(
            Reason(
                code=ReasonCode.CHAMPION_NEWER,
                metric=f"training of {champion.name}",
                observed=f"from {champion.training.start} until {champion.training.until}",
                required=f"none of the test months of {window}, from {run.test_start} until {run.end}",
            )
        )
    return tuple(reasons)


def _broken(policy: Policy, report: Report) -> Iterator[Reason]:
    yield from trips.few_rows(policy, report)
    yield from margins.ceilings(policy, report)
    yield from margins.against_others(policy, report)
    yield from worse_slices(policy, report)
    yield from trips.anomalies(policy, report)
    yield from trips.skew(policy, report)
    yield from trips.tuner(policy, report)
    if policy.require_blessing and report.blessed is not True:
        observed = None if report.blessed is None else "not blessed"
        yield Reason(code=ReasonCode.NOT_BLESSED, metric="blessing", observed=observed, required="blessed")


def _usd(amount: float | None) -> str:
    return "unknown" if amount is None else f"{amount:.3f} USD"


def _listed(codes: frozenset[ReasonCode]) -> str:
    return ", ".join(sorted(codes))
