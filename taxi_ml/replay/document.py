"""The replay's result as one document: what each policy would have shipped, and what it was worth."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from taxi_ml.gate.decision import Verdict
from taxi_ml.replay.comparison import compare
from taxi_ml.replay.contest import SEED, Reports
from taxi_ml.replay.policies import ALWAYS, SHIPPED
from taxi_ml.replay.power import DRAWS, power
from taxi_ml.replay.simulation import HINDSIGHT, hindsight, simulate, users
from taxi_ml.replay.stored import BASELINE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taxi_ml.replay.comparison import UserErrors
    from taxi_ml.replay.policies import Policy
    from taxi_ml.replay.power import PowerAt
    from taxi_ml.replay.simulation import Chain, Step
    from taxi_ml.replay.stored import Fault, Stored

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthResult:
    """A month's decision and the MAE of users in the following month, USD; None after the last month."""

    month: str
    verdict: Verdict | None
    reasons: tuple[str, ...]
    serves: tuple[str, ...]
    mae: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResult:
    """A policy's months, its users' errors, and how often each kind of reason rejected a challenger."""

    name: str
    serves: int
    months: tuple[MonthResult, ...]
    users: UserErrors
    promotions: int
    rejections: Mapping[str, int]
    power: tuple[PowerAt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultResult:
    """A broken month: each policy's verdict on it, and its users' MAE in the month after it, USD.

    The MAE is None if a model predicts something that is not a number.
    """

    name: str
    month: str
    verdicts: Mapping[str, Verdict]
    reasons: Mapping[str, tuple[str, ...]]
    mae: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Everything that a replay found; `trips` is the number of users' trips, `reference` a policy's name."""

    months: tuple[str, ...]
    trips: int
    reference: str
    sentence: str
    policies: tuple[PolicyResult, ...]
    faults: tuple[FaultResult, ...]

    def to_json(self) -> str:
        """Return replay.json."""
        document = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}
        return json.dumps(document, indent=2, sort_keys=True, allow_nan=False)


def summary(document: str | bytes) -> str:
    """Return replay.json's sentence and a table of its policies for a person, as lines of text."""
    found = json.loads(document)
    lines = [
        found["sentence"],
        "",
        f"{'policy':16} {'promotions':>10}  {'MAE of users (95 %)':24}  minus {found['reference']} (95 %)",
    ]
    for policy in found["policies"]:
        mae, against = policy["users"]["mae"], policy["users"]["against"]
        users = f"{mae['estimate']:.3f} ({mae['low']:.3f} to {mae['high']:.3f})"
        difference = f"{against['estimate']:+.3f} ({against['low']:+.3f} to {against['high']:+.3f})"
        lines.append(f"{policy['name']:16} {policy['promotions']:10}  {users:24}  {difference}")
    for fault in found["faults"]:
        after = (
            f"{name} {fault['verdicts'].get(name, '')} {'not a number' if usd is None else f'{usd:.2f}'}"
            for name, usd in fault["mae"].items()
        )
        lines.append(f"{fault['name']:20} {fault['month'][:7]}  {', '.join(after)}")
    return "\n".join([*lines, ""])


def replay(stored: Stored, policies: Sequence[Policy], *, draws: int = DRAWS) -> Replay:
    """Simulate every policy and hindsight on the same months, and every fault once for each policy.

    The power curve takes `draws` of every size; 0 leaves it out. It is the gate's, whatever a policy serves.
    """
    reports = Reports()
    chains = [*(simulate(stored, policy, reports) for policy in policies), hindsight(stored)]
    trips = users(stored)
    names = [policy.name for policy in policies]
    reference = ALWAYS if ALWAYS in names else names[0]
    errors = compare(chains, trips, reference=reference, seed=SEED)
    known = {policy.name: policy for policy in policies}
    curves = {
        policy.name: power(stored, policy.gate, draws=draws)
        for policy in policies
        if policy.gate and policy.serves == 1 and draws
    }
    results = tuple(
        _result(chain, known.get(chain.policy), errors[chain.policy], curves.get(chain.policy, ()))
        for chain in chains
    )
    faults = tuple(_fault(stored, fault, policies) for fault in stored.faults)
    return Replay(
        months=tuple(month.id for month in stored.months),
        trips=sum(len(each.fares) for each in trips),
        reference=reference,
        sentence=_sentence(results, reference, faults),
        policies=results,
        faults=faults,
    )


def _result(
    chain: Chain, policy: Policy | None, errors: UserErrors, curve: tuple[PowerAt, ...]
) -> PolicyResult:
    return PolicyResult(
        name=chain.policy,
        serves=policy.serves if policy else 1,
        months=tuple(_month(step) for step in chain.steps),
        users=errors,
        promotions=sum(step.verdict is Verdict.PROMOTE for step in chain.steps),
        rejections=dict(
            Counter(
                code
                for step in chain.steps
                if step.verdict is Verdict.REJECT
                for code in {reason.code.value for reason in step.reasons}
            )
        ),
        power=curve,
    )


def _month(step: Step) -> MonthResult:
    return MonthResult(
        month=step.month,
        verdict=step.verdict,
        reasons=tuple(str(reason) for reason in step.reasons),
        serves=step.serves,
        mae=_mae(step) if len(step.errors) else None,
    )


def _mae(step: Step) -> float | None:
    mean = float(np.abs(step.errors).mean())
    return mean if math.isfinite(mean) else None


def _fault(stored: Stored, fault: Fault, policies: Sequence[Policy]) -> FaultResult:
    # Reports of other months differ too where the broken model serves, so that none is kept.
    broken, reports = stored.with_fault(fault), Reports()
    # Without the baseline's predictions a mean cannot be compared with it: the run compared its model alone.
    judged = [each for each in policies if each.serves == 1 or BASELINE in fault.judged.predictions]
    steps = {
        policy.name: next(
            step for step in simulate(broken, policy, reports).steps if step.month == fault.month
        )
        for policy in judged
    }
    return FaultResult(
        name=fault.name,
        month=fault.month,
        verdicts={name: step.verdict for name, step in steps.items() if step.verdict},
        reasons={name: tuple(map(str, step.reasons)) for name, step in steps.items()},
        mae={name: _mae(step) for name, step in steps.items() if len(step.errors)},
    )


def _sentence(results: Sequence[PolicyResult], reference: str, faults: Sequence[FaultResult]) -> str:
    judged = (
        results[0]
        if results[0].name != reference
        else next((result for result in results if result.name not in (reference, HINDSIGHT)), results[0])
    )
    against = judged.users.against
    name = f"the {judged.name} policy" if judged.name == SHIPPED else f"policy {judged.name!r}"
    if against.low > 0:
        outcome = f"a higher error than with {reference!r}"
    elif against.high < 0:
        outcome = f"a lower error than with {reference!r}"
    else:
        outcome = f"the same error as with {reference!r}, as far as these trips can tell"
    return (
        f"Over the {len(judged.months) - 1} months that follow a decision, users of {name} would have met "
        f"{outcome}: a mean absolute error of {judged.users.mae.estimate:.3f} USD "
        f"({against.estimate:+.3f} USD, 95 % interval {against.low:+.3f} to {against.high:+.3f})"
        f"{_prevented(judged.name, reference, faults)}."
    )


def _prevented(name: str, reference: str, faults: Sequence[FaultResult]) -> str:
    told = [fault for fault in faults if name in fault.mae and reference in fault.mae]
    if not told:
        return ""
    stopped = sum(fault.verdicts.get(name) is not Verdict.PROMOTE for fault in told)
    # A median, because one fault may cost a thousand dollars a trip; what is not a number is the worst.
    ours, theirs = (
        float(np.median([math.inf if (usd := fault.mae[each]) is None else usd for fault in told]))
        for each in (name, reference)
    )
    return (
        f"; of {len(told)} broken months it rejects {stopped}, and the median error after one is "
        f"{ours:.2f} USD instead of {theirs:.2f}"
    )
