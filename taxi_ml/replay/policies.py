"""The rules that a replay compares: those of a gate's policy, and the simplest that it has to beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from taxi_ml.gate.decision import Verdict, decide
from taxi_ml.gate.policy import load, parse
from taxi_ml.replay.contest import predicted

if TYPE_CHECKING:
    from taxi_ml.gate.policy import Policy as GatePolicy
    from taxi_ml.gate.reasons import Reason
    from taxi_ml.replay.contest import Contest, Reports

SHIPPED: Final = "shipped"
ALWAYS: Final = "always"
NEVER: Final = "never"
BETTER_ONLY: Final = "better-only"
MEAN_OF_3: Final = "mean_of_3"
_NAMES: Final = frozenset({SHIPPED, ALWAYS, NEVER, BETTER_ONLY, MEAN_OF_3})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A rule's answer; `reasons` are those of a rejection."""

    verdict: Verdict
    reasons: tuple[Reason, ...] = ()


Rule = Callable[["Contest", "Reports"], Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A rule with a name, and the number of last approved models whose mean is served."""

    name: str
    rule: Rule
    serves: int = 1
    gate: GatePolicy | None = None


def always(_contest: Contest, _reports: Reports) -> Outcome:
    """Promote every challenger."""
    return Outcome(verdict=Verdict.PROMOTE)


def never(_contest: Contest, _reports: Reports) -> Outcome:
    """Keep the first model for ever."""
    return Outcome(verdict=Verdict.REJECT)


def better_only(contest: Contest, _reports: Reports) -> Outcome:
    """Promote a challenger whose MAE on the test rows is below the champion's."""
    judged = contest.month.judged
    ours, theirs = (
        float(np.mean(np.abs(predicted(judged, lineup) - judged.rows.fares)))
        for lineup in (contest.challenger, contest.champion)
    )
    return Outcome(verdict=Verdict.PROMOTE if ours < theirs else Verdict.REJECT)


def gated(name: str, policy: GatePolicy, *, serves: int = 1) -> Policy:
    """Return the policy that asks the gate."""

    def rule(contest: Contest, reports: Reports) -> Outcome:
        decision = decide(policy, reports.of(contest))
        return Outcome(verdict=decision.verdict, reasons=decision.reasons)

    return Policy(name=name, rule=rule, serves=serves, gate=policy)


def standard() -> tuple[Policy, ...]:
    """Return the shipped policy, the same with the mean of three models served, and three simple rules."""
    return (
        gated(SHIPPED, load()),
        gated(MEAN_OF_3, load(), serves=3),
        Policy(name=ALWAYS, rule=always),
        Policy(name=NEVER, rule=never),
        Policy(name=BETTER_ONLY, rule=better_only),
    )


def of_text(name: str, text: str) -> Policy:
    """Return the policy of a TOML document; raises PolicyError."""
    return gated(f"{name}.toml" if name in _NAMES else name, parse(text))
