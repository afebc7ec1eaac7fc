"""The rules about slices: none may be certainly worse than the champion or the baseline.

Every deciding slice is tested against each model, and Holm's correction keeps the probability that any of
these tests rejects an allowed model at the policy's alpha, however many slices there are (Holm 1979, A simple
sequentially rejective multiple test procedure).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxi_ml.gate.metrics import Role
from taxi_ml.gate.reasons import Reason, ReasonCode, finite, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taxi_ml.gate.metrics import Difference, Metrics, Slice
    from taxi_ml.gate.policy import Policy, SliceRules
    from taxi_ml.gate.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceTest:
    """The test of one slice against one model; `p` is the probability of such a loss within the margin."""

    p: float
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class _Allowed:
    """The loss against one other model that a slice may have, and the code of a larger one."""

    other: str
    margin: float
    code: ReasonCode


def worse_slices(policy: Policy, report: Report) -> Iterator[Reason]:
    """Yield a reason for each table, number or slice that breaks a rule."""
    rules = policy.slices
    for feature in rules.features:
        if not any(part.feature == feature for part in report.slices):
            yield Reason(
                code=ReasonCode.SLICES_MISSING,
                metric="slices",
                slice=feature,
                observed=None,
                required="a table of slices",
            )
    has_baseline = report.reference(Role.BASELINE) is not None
    tests = []
    for part in report.slices:
        if part.count < rules.min_rows:
            continue
        if finite(part.challenger.mae) is None:
            yield missing("mae", part.name)
        for found in _tests(rules, part, champion=report.champion is not None, baseline=has_baseline):
            if isinstance(found, Reason):
                yield found
            else:
                tests.append(found)
    yield from rejected(tests, rules.alpha)


def rejected(tests: list[SliceTest], alpha: float) -> Iterator[Reason]:
    """Yield the reasons of the tests that Holm's correction rejects, the least likely first."""
    for position, test in enumerate(sorted(tests, key=lambda test: test.p)):
        if test.p * (len(tests) - position) > alpha:
            return
        yield test.reason


def _tests(rules: SliceRules, part: Slice, *, champion: bool, baseline: bool) -> Iterator[SliceTest | Reason]:
    if champion:
        allowed = _Allowed(other="champion", margin=rules.champion, code=ReasonCode.SLICE_WORSE)
        yield _test(part, part.champion, part.difference, allowed)
    if baseline:
        allowed = _Allowed(other="baseline", margin=rules.baseline, code=ReasonCode.SLICE_WORSE_THAN_BASELINE)
        yield _test(part, part.baseline, part.baseline_difference, allowed)


def _test(
    part: Slice, theirs: Metrics | None, difference: Difference | None, allowed: _Allowed
) -> SliceTest | Reason:
    """Return the one-sided test that the loss is within the margin, or the number that it lacks."""
    mae = finite(theirs.mae) if theirs else None
    estimate = finite(difference.mae.estimate) if difference else None
    error = finite(difference.mae.error) if difference else None
    metric = f"difference in mae from the {allowed.other}"
    if mae is None or estimate is None or error is None:
        return missing(metric, part.name)
    bar = allowed.margin * mae
    certain = 0.0 if estimate > bar else 1.0
    reason = Reason(
        code=allowed.code,
        metric=metric,
        slice=part.name,
        observed=estimate,
        required=f"not certainly above {bar:.4g} USD, {100 * allowed.margin:.3g} % of its {mae:.4g} USD",
    )
    return SliceTest(
        p=0.5 * math.erfc((estimate - bar) / error / math.sqrt(2)) if error else certain, reason=reason
    )
