"""Checks for trips that were loaded twice, are missing for some days, or have not arrived yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from taxi_ml.settings import Settings
    from taxi_ml.sql.counts import DroppedTrips
    from taxi_ml.window import Window

_DAY: Final = timedelta(days=1)


class DamagedTripsError(ValueError):
    """A window has more copies of trips, or more days without any, than the settings allow."""


class MissingTripsError(ValueError):
    """The last days of a window have no trips, and the run no longer waits for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyDays:
    """The days of a window on which no trip starts, in order, by their place in the window.

    Days before the first trip are not a sign of a loss, because every table begins somewhere.
    """

    before: tuple[date, ...]
    between: tuple[date, ...]
    at_end: tuple[date, ...]

    @classmethod
    def of(cls, days: Iterable[date], window: Window) -> Self:
        """Return the days of the window that are not among `days`, which are the rows of `list_days`."""
        seen = set(days)
        first, last = min(seen, default=window.end), max(seen, default=window.end)
        length = (window.end - window.train_start).days
        empty = [
            day for day in (window.train_start + number * _DAY for number in range(length)) if day not in seen
        ]
        return cls(
            before=tuple(day for day in empty if day < first),
            between=tuple(day for day in empty if first < day < last),
            at_end=tuple(day for day in empty if day > last),
        )

    def describe(self) -> str:
        """Return one line for a log."""
        places = {"before the first": self.before, "in between": self.between, "after the last": self.at_end}
        found = "; ".join(f"{place}: {named(days)}" for place, days in places.items() if days)
        return f"Days without trips: {found or 'none'}"


def require_complete(dropped: DroppedTrips, empty: EmptyDays, settings: Settings) -> None:
    """Check that copies and days without trips are as few as the settings allow.

    Raises:
        DamagedTripsError: with every limit that is exceeded.

    """
    problems = []
    most = settings.max_duplicate_percent
    if dropped.duplicate_id * 100 > dropped.scanned * most:
        problems.append(
            f"{dropped.duplicate_id} of {dropped.scanned} trips have the id of another trip, more than "
            f"{most:g} %; load them once, or raise max_duplicate_percent (TAXI_MAX_DUPLICATE_PERCENT)"
        )
    if len(empty.between) > settings.max_days_without_trips:
        problems.append(
            f"no trip starts on {named(empty.between)}, more than {settings.max_days_without_trips} days; "
            "load these days, or raise max_days_without_trips (TAXI_MAX_DAYS_WITHOUT_TRIPS)"
        )
    if len(empty.at_end) > settings.max_days_without_trips_at_end:
        problems.append(
            f"the window's trips end early: none starts on {named(empty.at_end)}, and at most "
            f"{settings.max_days_without_trips_at_end} may be without; load these days, choose an earlier "
            "window end, or raise max_days_without_trips_at_end (TAXI_MAX_DAYS_WITHOUT_TRIPS_AT_END)"
        )
    if problems:
        raise DamagedTripsError("; ".join(problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """The arrival of a window's test trips; `newest` is the last day that has any, or None."""

    table: str
    window: Window
    newest: date | None

    @property
    def missing(self) -> int:
        """The days from the last trip to the end of the window, as `EmptyDays.at_end` has them."""
        last = self.newest or self.window.test_start - _DAY
        return (self.window.end - last).days - 1

    def describe(self) -> str:
        """Return one line with the end of the trips."""
        newest = f"the newest is of {self.newest}" if self.newest else "there are none"
        return f"trips of {self.table} from {self.window.test_start} to {self.window.end - _DAY}: {newest}"


def waits_until(arrival: Arrival, settings: Settings, now: datetime) -> datetime | None:
    """Return until when to wait for the last trips of a window, or None if they have arrived.

    They have arrived when no more days are without a trip than `require_complete` accepts. The deadline
    depends only on the window, so that every try of every run gives up at the same time, and a run of past
    months does not wait at all.

    Raises:
        MissingTripsError: if the window is not over yet, or the deadline has passed.

    """
    if arrival.missing <= settings.max_days_without_trips_at_end:
        return None
    end = datetime.combine(arrival.window.end, time(), tzinfo=UTC)
    deadline = end + settings.wait_days * _DAY
    if end <= now < deadline:
        return deadline
    waited = (
        f"the window ends on {arrival.window.end}, which is in the future"
        if now < end
        else f"the deadline for them was {deadline:%Y-%m-%d} (wait_days, TAXI_WAIT_DAYS)"
    )
    raise MissingTripsError(
        f"{arrival.describe()}. {arrival.missing} days at the end are missing, and {waited}; load them, "
        "choose an earlier window end, or raise max_days_without_trips_at_end "
        f"(TAXI_MAX_DAYS_WITHOUT_TRIPS_AT_END), which is {settings.max_days_without_trips_at_end}"
    )


def named(days: Sequence[date]) -> str:
    """Return days in order as periods: ``2014-11-01 to 2014-11-30, 2015-01-05 (31 days)``."""
    every = set(days)
    starts = [day for day in days if day - _DAY not in every]
    ends = [day for day in days if day + _DAY not in every]
    periods = [
        f"{start}" if start == end else f"{start} to {end}" for start, end in zip(starts, ends, strict=True)
    ]
    return f"{', '.join(periods)} ({len(days)} day{'' if len(days) == 1 else 's'})"
