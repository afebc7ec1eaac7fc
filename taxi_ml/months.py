"""The number of test months of a run whose settings leave it to the number of trips. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from taxi_ml.gate.policy import Policy
    from taxi_ml.window import Window

MOST_MONTHS: Final = 6
"""The most test months: training ends where they begin, and fares change."""

_MARGIN: Final = 0.02
_ROWS: Final = 1140
"""The test trips on which a model that is equal to the champion passes a margin of 2 % with 80 % power."""
_NORMAL: Final = NormalDist()
_UPPER: Final = _NORMAL.inv_cdf(0.975)
_POWER: Final = 0.8


def rows_wanted(policy: Policy) -> float:
    """Return the test trips that the policy's margin in MAE needs, infinite if no number is enough.

    Standard errors fall with the root of the rows, so that half the margin needs four times as many.
    """
    margin = policy.margin.mae
    return _ROWS * (_MARGIN / margin) ** 2 if margin else math.inf


def longest(window: Window) -> Window:
    """Return the window with the most test months that ends with this one, whose months are to be counted."""
    return window.with_test_months(MOST_MONTHS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usable:
    """The usable trips by the first day of their month; `newest` is the last day that has any, or None.

    The last month may still be arriving: if more than `tolerated` days at its end have no trips, it counts as
    the month before it.
    """

    by_month: Mapping[date, int]
    newest: date | None
    tolerated: int

    def last(self, window: Window, months: int) -> int:
        """Return the trips of the last months before the window's end."""
        return sum(self._of(window, number) for number in range(1, months + 1))

    def before(self, window: Window, months: int) -> int:
        """Return the trips of the training months that go before this many test months."""
        tested = window.with_test_months(months)
        return sum(
            trips for month, trips in self.by_month.items() if tested.train_start <= month < tested.test_start
        )

    def _of(self, window: Window, number: int) -> int:
        """Return the trips of the month that is `number` months before the window's end, from 1."""
        month = window.with_test_months(number).test_start
        if number == 1 and (self.newest is None or (window.end - self.newest).days - 1 > self.tolerated):
            month = window.with_test_months(2).test_start
        return self.by_month.get(month, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The number of test months that was chosen, with about how many trips, and why not more.

    `limit` is empty if there are as many trips as are `wanted`.
    """

    months: int
    rows: int
    wanted: float
    limit: str

    @property
    def power(self) -> float:
        """Return about how often a model that is equal to the champion passes the margin, 0 to 1."""
        errors = (_UPPER + _NORMAL.inv_cdf(_POWER)) * math.sqrt(self.rows / self.wanted)
        return _NORMAL.cdf(errors - _UPPER)

    def describe(self) -> str:
        """Return one line for a log."""
        wanted = f"{math.ceil(self.wanted):,}" if math.isfinite(self.wanted) else "more than there can be"
        found = (
            f"{self.months} test month{'' if self.months == 1 else 's'}, chosen by the number of trips: "
            f"about {self.rows:,}, and the policy's margin needs {wanted}"
        )
        if not self.limit:
            return found
        return f"{found}. An equal model passes it in about {self.power:.0%} of such runs. {self.limit}"


def choose(
    window: Window, usable: Usable, *, wanted: float, least_train: int, learned_until: date | None = None
) -> Choice:
    """Return the fewest test months that have as many trips as are `wanted`, or as many months as can be.

    They are `MOST_MONTHS` at most, leave `least_train` trips to train on, and begin when the champion's
    training has ended, on the day `learned_until`: a champion of fewer test months has learned from months
    that would be tested on. Every month that passes leaves one more, so that a schedule never stops at it.
    A champion that leaves none is for others to refuse, and limits nothing.

    :param window: a window of any number of test months
    """
    fair = window.months_since(learned_until) if learned_until else MOST_MONTHS
    allowed, limit = 1, ""
    for months in range(1, MOST_MONTHS + 1):
        if fair >= 1 and months > fair:
            limit = f"The champion has learned from the trips before {learned_until}"
            break
        if months > 1 and usable.before(window, months) < least_train:
            limit = f"More would leave fewer than {least_train:,} trips to train on"
            break
        allowed = months
        if usable.last(window, months) >= wanted:
            return Choice(months=months, rows=usable.last(window, months), wanted=wanted, limit="")
    return Choice(
        months=allowed,
        rows=usable.last(window, allowed),
        wanted=wanted,
        limit=limit or f"{MOST_MONTHS} months are the most; set test_months to test on more",
    )
