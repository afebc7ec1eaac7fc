"""The decision whether to promote a challenger, with every reason."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from taxi_ml.gate.champion import Champion
    from taxi_ml.gate.policy import Policy, Regression
    from taxi_ml.gate.report import Hashes, Interval, Report, Slice
    from taxi_ml.sql.counts import SplitCounts

SCHEMA_VERSION: Final = 1


class Verdict(StrEnum):
    """The gate's verdict on a challenger."""

    PROMOTE = "promote"
    REJECT = "reject"


class ReasonCode(StrEnum):
    """The kinds of reasons to reject a challenger."""

    CHAMPION_MISSING = "champion_missing"
    CHAMPION_NEWER = "champion_newer"
    METRIC_MISSING = "metric_missing"
    SLICES_MISSING = "slices_missing"
    TOO_FEW_ROWS = "too_few_rows"
    ABOVE_CEILING = "above_ceiling"
    SIGNIFICANTLY_WORSE = "significantly_worse"
    WORSE_THAN_ALLOWED = "worse_than_allowed"
    SLICE_ABOVE_CEILING = "slice_above_ceiling"
    SLICE_WORSE = "slice_worse"
    DATA_ANOMALY = "data_anomaly"
    DATA_DRIFT = "data_drift"
    DRIFT_MISSING = "drift_missing"
    TUNER_UNHEALTHY = "tuner_unhealthy"
    NOT_BLESSED = "not_blessed"


NEVER_OVERRIDDEN: Final = frozenset({ReasonCode.METRIC_MISSING, ReasonCode.SLICES_MISSING})
"""A number that was never computed cannot be overridden."""

OVERRIDABLE: Final = frozenset(ReasonCode) - NEVER_OVERRIDDEN


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
        if forbidden := self.codes & NEVER_OVERRIDDEN:
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
class Reason:
    """One rule that the challenger breaks.

    `slice` is None if the rule is about all rows, `observed` if there is no value. `required` describes the
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The verdict on a challenger, and every reason against it.

    `champion` is None if nothing serves yet; its metrics are None if the challenger was not compared with it.
    `undecided_slices` had too few rows. `parameters` are the values that the compiled pipeline ran with.
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
    parameters: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return decision.json; equal decisions give equal strings."""
        document = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}
        return json.dumps(document, indent=2, sort_keys=True, allow_nan=False, default=sorted)

    def describe(self) -> str:
        """Return the decision as lines for a log: the verdict first, then each reason."""
        lines = [f"{self.verdict} {self.challenger} for {self.window}", *map(str, self.reasons)]
        if self.override is not None:
            person = f" by {self.override.by}" if self.override.by else ""
            lines.append(f"overridden {_listed(self.override.codes)}{person}: {self.override.reason}")
        return "\n".join(lines)


def decide(
    policy: Policy, report: Report, override: Override | None = None, serving: Champion | None = None
) -> Decision:
    """Judge the challenger of `report`; never raises, and returns every reason, not just the first.

    Without a champion only the absolute rules apply. A number that is missing or not finite is a reason to
    reject, and so is a model in production that the challenger was not compared with, or not fairly;
    `serving` is None if that model is not known.
    """
    champion = report.champion
    unfair = objections(serving, report.window, compared=champion is not None) if serving else ()
    reasons = (*unfair, *_reasons(policy, report))
    # An override stays in the decision with its reasons, and only keeps them from counting.
    against = {reason.code for reason in reasons} - (override.codes if override else frozenset())
    metrics = report.challenger.metrics
    name = champion.name if champion else serving.name if serving else ""
    return Decision(
        verdict=Verdict.REJECT if against else Verdict.PROMOTE,
        reasons=reasons,
        override=override,
        window=report.window,
        rows=report.rows,
        challenger=report.challenger.uri,
        champion=name or None,
        rmse=_finite(metrics.rmse),
        mae=_finite(metrics.mae),
        champion_rmse=_finite(champion.metrics.rmse) if champion else None,
        champion_mae=_finite(champion.metrics.mae) if champion else None,
        undecided_slices=tuple(part.name for part in report.slices if part.count < policy.slices.min_rows),
        hashes=report.hashes,
        policy=policy,
    )


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
    if champion.is_newer_than(window):
        reasons.append(
            Reason(
                code=ReasonCode.CHAMPION_NEWER,
                metric=f"window of {champion.name}",
                observed=champion.window,
                required=f"not later than {window}, and not trained on its test months",
            )
        )
    return tuple(reasons)


def _reasons(policy: Policy, report: Report) -> Iterator[Reason]:
    yield from _rows(policy, report)
    seen, most = report.challenger.metrics, policy.max_usd
    yield from _at_most(seen.rmse, most.rmse, code=ReasonCode.ABOVE_CEILING, metric="rmse")
    yield from _at_most(seen.mae, most.mae, code=ReasonCode.ABOVE_CEILING, metric="mae")
    yield from _regressions(policy, report)
    yield from _slices(policy, report)
    yield from _anomalies(policy, report)
    yield from _drifts(policy, report)
    yield from _tuner(policy, report)
    if policy.require_blessing and report.blessed is not True:
        observed = None if report.blessed is None else "not blessed"
        yield Reason(code=ReasonCode.NOT_BLESSED, metric="blessing", observed=observed, required="blessed")


def _rows(policy: Policy, report: Report) -> Iterator[Reason]:
    for name, least, seen in (
        ("train", policy.min_rows.train, report.rows.train),
        ("eval", policy.min_rows.eval, report.rows.eval),
        ("test", policy.min_rows.test, report.rows.test),
    ):
        if seen < least:
            yield Reason(
                code=ReasonCode.TOO_FEW_ROWS,
                metric=f"{name} rows",
                observed=str(seen),
                required=f"at least {least}",
            )


def _regressions(policy: Policy, report: Report) -> Iterator[Reason]:
    if report.champion is None:
        return
    found, rules = report.difference, policy.regression
    yield from _regression("rmse", rules.rmse, found.rmse if found else None)
    yield from _regression("mae", rules.mae, found.mae if found else None)
    for name, seen in (("rmse", report.champion.metrics.rmse), ("mae", report.champion.metrics.mae)):
        if _finite(seen) is None:
            yield _missing(f"champion {name}")


def _regression(name: str, rule: Regression, found: Interval | None) -> Iterator[Reason]:
    metric = f"difference in {name}"
    if found is None or _finite(found.high) is None:
        yield _missing(f"{metric} (high end)")
    yield from _at_most(
        found.low if found else None,
        rule.significant,
        code=ReasonCode.SIGNIFICANTLY_WORSE,
        metric=f"{metric} (low end)",
    )
    yield from _at_most(
        found.estimate if found else None,
        rule.estimate,
        code=ReasonCode.WORSE_THAN_ALLOWED,
        metric=metric,
    )


def _slices(policy: Policy, report: Report) -> Iterator[Reason]:
    for feature in policy.slices.features:
        if not any(part.feature == feature for part in report.slices):
            yield Reason(
                code=ReasonCode.SLICES_MISSING,
                metric="slices",
                slice=feature,
                observed=None,
                required="a table of slices",
            )
    for part in report.slices:
        if part.count >= policy.slices.min_rows:
            yield from _slice(policy, part, has_champion=report.champion is not None)


def _slice(policy: Policy, part: Slice, *, has_champion: bool) -> Iterator[Reason]:
    yield from _at_most(
        part.challenger.mae,
        policy.slices.max_mae,
        code=ReasonCode.SLICE_ABOVE_CEILING,
        metric="mae",
        part=part.name,
    )
    if has_champion:
        yield from _at_most(
            _slice_regression(part),
            policy.slices.regression_mae,
            code=ReasonCode.SLICE_WORSE,
            metric="difference in mae",
            part=part.name,
        )


def _slice_regression(part: Slice) -> float | None:
    if part.difference is not None:
        return part.difference.mae.low
    if part.champion is None or part.champion.mae is None or part.challenger.mae is None:
        return None
    return part.challenger.mae - part.champion.mae


def _anomalies(policy: Policy, report: Report) -> Iterator[Reason]:
    for found in report.anomalies:
        if found.split in policy.anomalies.splits and found.kind not in policy.anomalies.tolerated_kinds:
            yield Reason(
                code=ReasonCode.DATA_ANOMALY,
                metric=f"{found.split} {found.feature}",
                observed=found.description,
                required="no anomaly",
            )


def _drifts(policy: Policy, report: Report) -> Iterator[Reason]:
    rules = policy.drift
    if report.champion is not None and rules.required and not report.drift:
        yield Reason(
            code=ReasonCode.DRIFT_MISSING,
            metric="drift",
            observed=None,
            required="the champion's training rows",
        )
    for found in report.drift:
        if found.split in rules.splits and found.feature not in rules.ignored_features:
            where = f"{found.split} {found.feature}"
            yield from _near(found.distance, rules.max_distance, f"{where} {found.measure}")
            yield from _near(found.new_share, rules.max_new_share, f"{where} new categories")


def _near(seen: float | None, bar: float, metric: str) -> Iterator[Reason]:
    finite = _finite(seen)
    if finite is None:
        yield _missing(metric)
    elif finite > bar:
        yield Reason(
            code=ReasonCode.DATA_DRIFT, metric=metric, observed=float(finite), required=f"at most {bar:g}"
        )


def _tuner(policy: Policy, report: Report) -> Iterator[Reason]:
    if report.tuner is None:
        if policy.require_tuner:
            yield _unhealthy("trials", None, "a Tuner that ran")
        return
    if report.tuner.trials < 1 or not report.tuner.best:
        yield _unhealthy("trials", str(report.tuner.trials), "a best trial")
    if _finite(report.tuner.best_score) is None:
        yield _unhealthy(report.tuner.objective, None, "a finite score")


def _unhealthy(metric: str, observed: str | None, required: str) -> Reason:
    return Reason(
        code=ReasonCode.TUNER_UNHEALTHY, metric=f"tuner {metric}", observed=observed, required=required
    )


def _at_most(
    seen: float | None, ceiling: float, *, code: ReasonCode, metric: str, part: str | None = None
) -> Iterator[Reason]:
    finite = _finite(seen)
    if finite is None:
        yield _missing(metric, part)
    elif finite > ceiling:
        yield Reason(
            code=code, metric=metric, slice=part, observed=float(finite), required=f"at most {ceiling:g} USD"
        )


def _missing(metric: str, part: str | None = None) -> Reason:
    return Reason(
        code=ReasonCode.METRIC_MISSING, metric=metric, slice=part, observed=None, required="a finite number"
    )


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _listed(codes: frozenset[ReasonCode]) -> str:
    return ", ".join(sorted(codes))
