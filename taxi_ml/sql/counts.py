"""The results of the counting statements, and the check that there are enough trips."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taxi_ml.gate.policy import MinRows


class TooFewTripsError(ValueError):
    """A window has fewer trips than a model can be trained or judged on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCounts:
    """The number of trips in each split of a window: the one row of `count_splits`."""

    train: int
    eval: int
    test: int

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the counts of a row with these columns."""
        return cls(train=int(row["train"]), eval=int(row["eval"]), test=int(row["test"]))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read counts from JSON.

        Raises:
            ValueError: for anything but an object with the three numbers.

        """
        try:
            return cls.from_row(json.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{text!r} does not have the trips of each split; clear check_rows to count them again"
            ) from error


_NO_REASONS: Final = frozenset({"scanned", "kept", "impossible_coordinates"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedTrips:
    """A window's trips by the reason they were left out for: the one row of `count_dropped`.

    Each trip that was left out is counted once, under the first reason that applies, in this order. Trips
    with `impossible_coordinates` are kept, without their distance.
    """

    scanned: int
    kept: int
    impossible_coordinates: int
    missing_id: int
    missing_time: int
    end_before_start: int
    seconds_not_positive: int
    too_many_seconds: int
    seconds_disagree: int
    missing_fare: int
    fare_not_positive: int
    fare_too_high: int
    negative_distance: int
    distance_too_long: int
    duplicate_id: int

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the counts of a row with these columns."""
        return cls(**{field.name: int(row[field.name]) for field in dataclasses.fields(cls)})

    def by_reason(self) -> dict[str, int]:
        """Return the reasons that dropped any trip, with their numbers."""
        counts = dataclasses.asdict(self)
        return {name: count for name, count in counts.items() if count and name not in _NO_REASONS}

    def describe(self) -> str:
        """Return one line for a log."""
        reasons = ", ".join(f"{name} {count}" for name, count in self.by_reason().items()) or "none"
        kept = f"{self.kept} kept"
        if self.impossible_coordinates:
            kept += f" ({self.impossible_coordinates} without a distance: impossible_coordinates)"
        return f"{self.scanned} trips, {kept}; left out: {reasons}"


def require_rows(counts: SplitCounts, least: MinRows) -> None:
    """Check that every split has as many trips as the gate will require.

    Raises:
        TooFewTripsError: with the counts and the rule that requires more.

    """
    wanted = dataclasses.asdict(least)
    seen = dataclasses.asdict(counts)
    short = [
        f"{split} has {seen[split]} of {enough}" for split, enough in wanted.items() if seen[split] < enough
    ]
    if short:
        raise TooFewTripsError(
            f"too few trips: {', '.join(short)} (train {counts.train}, eval {counts.eval}, "
            f"test {counts.test}); choose another window end, more months, or lower min_rows in "
            "policy.toml"
        )
