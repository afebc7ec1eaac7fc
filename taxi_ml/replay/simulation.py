"""The simulation: month by month, what a policy ships and how its users fare in the following month."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from taxi_ml.gate.decision import Verdict
from taxi_ml.replay.contest import Contest, predicted, skill
from taxi_ml.replay.stored import end_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from numpy.typing import NDArray

    from taxi_ml.gate.reasons import Reason
    from taxi_ml.replay.contest import Lineup, Reports
    from taxi_ml.replay.policies import Outcome, Policy
    from taxi_ml.replay.stored import Month, Numbers, Stored

ANCHOR_MONTHS: Final = 12
HINDSIGHT: Final = "hindsight"
_EPOCH_ORDINAL: Final = 719163  # date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trips:
    """The trips of users after a month's decision: fares in USD and days since 1970, of shape [trips]."""

    fares: Numbers
    days: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A month's decision, what serves after it, and predicted minus paid fare of the trips that follow.

    `verdict` is empty for the first month, whose model serves because no other does. `errors` are USD, of
    shape [trips]; empty after the last month.
    """

    month: str
    verdict: Verdict | None
    reasons: tuple[Reason, ...]
    serves: Lineup
    errors: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """All steps of one policy."""

    policy: str
    steps: tuple[Step, ...]

    @property
    def errors(self) -> Numbers:
        """Predicted minus paid fare of all users' trips, USD."""
        return np.concatenate([step.errors for step in self.steps])


def users(stored: Stored) -> tuple[Trips, ...]:
    """Return the trips after each month's decision: those of the following month that are not in it too."""
    return tuple(
        Trips(fares=after.rows.fares[new], days=after.rows.days[new])
        for after, new in _following(stored.months)
    )


def simulate(stored: Stored, policy: Policy, reports: Reports) -> Chain:
    """Return what this policy ships; the first month's model serves at the beginning, whatever it is."""
    following = list(_following(stored.months))
    approved: Lineup = (stored.months[0].id,)
    served: list[Lineup] = []
    outcomes: list[Outcome | None] = [None]
    for month in stored.months:
        if month is not stored.months[0]:
            contest = Contest(
                month=month,
                challenger=(*approved, month.id)[-policy.serves :],
                champion=approved[-policy.serves :],
                anchor=_anchor(stored.months, served, month),
            )
            outcome = policy.rule(contest, reports)
            outcomes.append(outcome)
            if outcome.verdict is Verdict.PROMOTE:
                approved = (*approved, month.id)
        served.append(approved[-policy.serves :])
    return Chain(
        policy=policy.name,
        steps=tuple(
            Step(
                month=month.id,
                verdict=outcome.verdict if outcome else None,
                reasons=outcome.reasons if outcome else (),
                serves=lineup,
                errors=_errors(following[index], lineup) if index < len(following) else np.zeros(0),
            )
            for index, (month, outcome, lineup) in enumerate(
                zip(stored.months, outcomes, served, strict=True)
            )
        ),
    )


def hindsight(stored: Stored) -> Chain:
    """Return the best that one model could do: after each month, the one that has the lowest MAE then."""
    following = list(_following(stored.months))
    names = [month.id for month in stored.months]
    steps = []
    for index, name in enumerate(names):
        candidates = {(model,): np.zeros(0) for model in names[: index + 1]}
        if index < len(following):
            candidates = {lineup: _errors(following[index], lineup) for lineup in candidates}
        best = min(candidates, key=lambda lineup: float(np.abs(candidates[lineup]).sum()))
        steps.append(Step(month=name, verdict=None, reasons=(), serves=best, errors=candidates[best]))
    return Chain(policy=HINDSIGHT, steps=tuple(steps))


def _following(months: Sequence[Month]) -> Iterator[tuple[Month, NDArray[np.bool_]]]:
    """Yield each month after the first, and which of its rows are later than the month before it."""
    for before, after in pairwise(months):
        yield after, after.rows.days >= end_of(before.id).toordinal() - _EPOCH_ORDINAL


def _errors(following: tuple[Month, NDArray[np.bool_]], lineup: Lineup) -> Numbers:
    after, new = following
    errors: Numbers = (predicted(after, lineup) - after.rows.fares)[new]
    return errors


def _anchor(months: Sequence[Month], served: Sequence[Lineup], now: Month) -> Lineup:
    """Return the champion of the last months that was the farthest below its baseline; empty if unknown."""
    oldest = _months_before(end_of(now.id), ANCHOR_MONTHS)
    recent = [lineup for lineup in served if end_of(lineup[-1]) >= oldest]
    skills = {month.id: skill(month) for month in months}
    known = {lineup: found for lineup in recent if (found := skills[lineup[-1]]) is not None}
    return min(known, key=known.__getitem__) if known else ()


def _months_before(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return day.replace(year=year, month=month + 1)
