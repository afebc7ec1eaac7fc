"""The months that a run trains and tests on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Self

from taxi_ml.rules import SettingsError, shown_value


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The months that one run trains on, followed by the months that it tests on.

    `end` is the first day after the test months. All bounds are midnight UTC: the trips' timestamps
    are Chicago's wall clock stored as UTC, so these are local midnights too.
    """

    end: date
    train_months: int
    test_months: int

    def __post_init__(self) -> None:
        """Refuse an impossible window.

        Raises:
            SettingsError: for an end inside a month, lengths below one month, or years before 1900.

        """
        problems = []
        if self.end.day != 1:
            first = self.end.replace(day=1)
            problems.append(
                f"window end = {self.end} is inside a month; give the first day after the test months, "
                f"such as {first}"
            )
        for name, months in (("train_months", self.train_months), ("test_months", self.test_months)):
            if months < 1:
                problems.append(f"window {name} = {months} is below 1; give at least one month")
        months_before = self.train_months + self.test_months
        if not problems and _month_number(self.end) - months_before < _month_number(date(1900, 1, 1)):
            problems.append(
                f"window of {months_before} months before {self.end} begins before 1900; shorten it"
            )
        if problems:
            raise SettingsError(*problems)

    @property
    def test_start(self) -> date:
        """The first day of the test months, and the first day after training."""
        return _months_before(self.end, self.test_months)

    @property
    def train_start(self) -> date:
        """The first day of the training months."""
        return _months_before(self.test_start, self.train_months)

    @property
    def id(self) -> str:
        """The window's name in paths and tables, such as 2015-07_train24_test1 (end exclusive)."""
        return f"{self.end:%Y-%m}_train{self.train_months}_test{self.test_months}"

    def with_test_months(self, months: int) -> Window:
        """Return the window with the same end and length of training, and this many test months."""
        return replace(self, test_months=months)

    def months_since(self, day: date) -> int:
        """Return the whole months from `day` to the window's end; below 1 if there are none."""
        begun = _month_number(day) + (day.day > 1)
        return _month_number(self.end) - begun

    @classmethod
    def ending(cls, moment: str | date, *, train_months: int, test_months: int) -> Self:
        """Return the window that ends at `moment`: a date, or a string such as 2015-07-01 or a timestamp.

        Raises:
            SettingsError: if `moment` is not a date, or the window is not valid.

        """
        end = _date_of(moment)
        if end is None:
            raise SettingsError(
                f"window end = {shown_value(moment)} is not a date; write it as in 2015-07-01"
            )
        return cls(end=end, train_months=train_months, test_months=test_months)


def _date_of(moment: object) -> date | None:
    """Return the day in UTC, or None if `moment` is not a date or its day in UTC is out of range."""
    try:
        found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        if isinstance(found, datetime):
            return found.astimezone(UTC).date() if found.tzinfo else found.date()
    except (ValueError, OverflowError):
        return None
    return found if isinstance(found, date) else None


def _month_number(day: date) -> int:
    return day.year * 12 + day.month - 1


def _months_before(day: date, months: int) -> date:
    year, month = divmod(_month_number(day) - months, 12)
    return date(year, month + 1, 1)
