"""The rules about the trips and the training: rows, anomalies, skew, drift and the Tuner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taxi_ml.gate.reasons import Reason, ReasonCode, finite, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taxi_ml.gate.distributions import Drift
    from taxi_ml.gate.policy import DistanceRules, Policy
    from taxi_ml.gate.report import Report


def few_rows(policy: Policy, report: Report) -> Iterator[Reason]:
    """Yield a reason for each split with fewer trips than the policy asks."""
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


def anomalies(policy: Policy, report: Report) -> Iterator[Reason]:
    """Yield a reason for each anomaly that the policy does not tolerate."""
    for found in report.anomalies:
        if policy.anomalies.apply_to(found.split, found.kind):
            yield Reason(
                code=ReasonCode.DATA_ANOMALY,
                metric=f"{found.split} {found.feature}",
                observed=found.description,
                required="no anomaly",
            )


def skew(policy: Policy, report: Report) -> Iterator[Reason]:
    """Yield a reason for each feature whose test trips are too far from the challenger's own training."""
    yield from _far(policy.skew, report.skew, ReasonCode.DATA_SKEW, "from its own training")


def drift(policy: Policy, report: Report) -> Iterator[Reason]:
    """Yield a warning for each distance from the champion's training that is too far or unknown."""
    if report.champion is not None and not report.drift:
        yield _unknown(ReasonCode.DRIFT_MISSING, "drift", "the champion's training rows")
    if not report.skew:
        yield _unknown(ReasonCode.SKEW_MISSING, "skew", "the challenger's training rows")
    yield from _far(policy.drift, report.drift, ReasonCode.DATA_DRIFT, "from the champion's training")


def tuner(policy: Policy, report: Report) -> Iterator[Reason]:
    """Yield a reason if the Tuner did not tune."""
    if report.tuner is None:
        if policy.require_tuner:
            yield _unhealthy("trials", None, "a Tuner that ran")
        return
    if report.tuner.trials < 1 or not report.tuner.best:
        yield _unhealthy("trials", str(report.tuner.trials), "a best trial")
    if finite(report.tuner.best_score) is None:
        yield _unhealthy(report.tuner.objective, None, "a finite score")


def _far(rules: DistanceRules, found: tuple[Drift, ...], code: ReasonCode, origin: str) -> Iterator[Reason]:
    for each in found:
        if each.split not in rules.splits or each.feature in rules.ignored_features:
            continue
        for seen, bar, measure in (
            (each.distance, rules.max_distance, each.measure),
            (each.new_share, rules.max_new_share, "new categories"),
        ):
            metric = f"{each.split} {each.feature} {measure} {origin}"
            number = finite(seen)
            if number is None:
                yield missing(metric)
            elif number > bar:
                yield Reason(code=code, metric=metric, observed=float(number), required=f"at most {bar:g}")


def _unknown(code: ReasonCode, metric: str, required: str) -> Reason:
    return Reason(code=code, metric=metric, observed=None, required=required)


def _unhealthy(metric: str, observed: str | None, required: str) -> Reason:
    return Reason(
        code=ReasonCode.TUNER_UNHEALTHY, metric=f"tuner {metric}", observed=observed, required=required
    )
