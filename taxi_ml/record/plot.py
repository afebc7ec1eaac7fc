"""The geometry of the track record's plot, in units of its view box."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Final

from taxi_ml.card.plots import shown
from taxi_ml.gate.metrics import is_finite

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from taxi_ml.gate.metrics import Interval
    from taxi_ml.record.run import Outcome
    from taxi_ml.record.track import Entry, TrackRecord

WIDTH: Final = 360.0
BOTTOM: Final = 132.0
_LEFT: Final = 32.0
_RIGHT: Final = 12.0
_TOP: Final = 8.0
_MOST_LABELS: Final = 6
_MOST_MARKS: Final = 5
_HIGHEST: Final = 3.0
"""The top of the plot in terms of the median error: a model that diverged is drawn at the edge."""
_LABEL: Final = 4.6
"""The width of a letter in a block's label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A challenger's error, or its difference from the champion's from `low` to `high`."""

    x: float
    y: float
    low: float
    high: float
    outcome: Outcome
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The months that the same model met as the champion; `label` is empty if there is no room for it."""

    x: float
    width: float
    label: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """The champion's errors as a line, the challengers' as dots, and what served as blocks, over the months.

    `differences` and their marks have the same months, and a scale of their own.
    """

    line: str
    champions: tuple[tuple[float, float, str], ...]
    challengers: tuple[Dot, ...]
    differences: tuple[Dot, ...]
    difference_marks: tuple[tuple[float, str], ...]
    blocks: tuple[Block, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    first: int
    months: int
    least: float
    most: float

    def x(self, day: date) -> float:
        return round(_LEFT + self.step * (_number(day) - self.first + 0.5), 1)

    def y(self, usd: float) -> float:
        share = (usd - self.least) / (self.most - self.least)
        return round(BOTTOM - (BOTTOM - _TOP) * min(max(share, 0.0), 1.0), 1)

    @property
    def step(self) -> float:
        return (WIDTH - _LEFT - _RIGHT) / self.months


def draw(track: TrackRecord) -> Plot | None:
    """Return the plot of the runs that have a report, or None if none has."""
    entries = [entry for entry in track.entries if is_finite(entry.mae)]
    if not entries:
        return None
    scale = _scale(entries)
    by_month = {entry.record.run.window.end: entry for entry in entries if is_finite(entry.champion_mae)}
    compared = [entry for entry in entries if _is_whole(entry.difference)]
    apart = _scale_of_differences(compared, scale)
    champions = tuple(
        (
            scale.x(end),
            scale.y(entry.champion_mae or 0.0),
            f"{entry.record.months}: champion {shown(entry.champion_mae)} USD",
        )
        for end, entry in sorted(by_month.items())
    )
    return Plot(
        line=" ".join(f"{x},{y}" for x, y, _ in champions),
        champions=champions,
        challengers=tuple(_dot(entry, scale) for entry in entries),
        differences=tuple(_difference(entry, apart) for entry in compared),
        difference_marks=tuple((apart.y(usd), f"{usd:+g}" if usd else "0") for usd in _marks(apart)),
        blocks=_blocks([entry for _, entry in sorted(by_month.items())], scale),
        across=_labels(entries, scale),
        up=tuple((scale.y(usd), f"{usd:g}") for usd in _marks(scale)),
    )


def _scale(entries: Sequence[Entry]) -> _Scale:
    usual = [error for entry in entries for error in (entry.mae, entry.champion_mae) if is_finite(error)]
    edge = _HIGHEST * median(usual)
    inside = [error for error in usual if error <= edge]
    months = [_number(entry.record.run.window.end) for entry in entries]
    least, most = min(inside), max(inside)
    room = 0.08 * (most - least) or 0.5
    return _Scale(
        first=min(months),
        months=max(months) - min(months) + 1,
        least=max(0.0, least - room),
        most=most + room,
    )


def _scale_of_differences(entries: Sequence[Entry], months: _Scale) -> _Scale:
    sizes = [abs(end) for entry in entries for end in _ends(entry.difference)]
    edge = _HIGHEST * median(sizes) if sizes else 0.0
    most = 1.1 * max((size for size in sizes if size <= edge), default=0.0) or 0.5
    return replace(months, least=-most, most=most)


def _ends(found: Interval | None) -> tuple[float, ...]:
    ends = (found.low, found.estimate, found.high) if found else ()
    return tuple(end for end in ends if is_finite(end))


def _is_whole(found: Interval | None) -> bool:
    return len(_ends(found)) == 3  # noqa: PLR2004  # low, estimate and high


def _dot(entry: Entry, scale: _Scale) -> Dot:
    y = scale.y(entry.mae or 0.0)
    return Dot(
        x=scale.x(entry.record.run.window.end),
        y=y,
        low=y,
        high=y,
        outcome=entry.outcome,
        title=f"{entry.record.months}: challenger {shown(entry.mae)} USD, {entry.outcome}",
    )


def _difference(entry: Entry, scale: _Scale) -> Dot:
    low, estimate, high = _ends(entry.difference)
    return Dot(
        x=scale.x(entry.record.run.window.end),
        y=scale.y(estimate),
        low=scale.y(low),
        high=scale.y(high),
        outcome=entry.outcome,
        title=f"{entry.record.months}: {shown(estimate, 3, '+')} USD "
        f"({shown(low, 3, '+')} to {shown(high, 3, '+')}), {entry.outcome}",
    )


def _blocks(entries: Sequence[Entry], scale: _Scale) -> tuple[Block, ...]:
    """Return a block for each model that the months met one after the other."""
    groups: list[list[Entry]] = []
    for entry in entries:
        report = entry.record.report
        before = groups[-1][-1].record.report if groups else None
        same = (
            before
            and report
            and before.champion
            and report.champion
            and before.champion.uri == report.champion.uri
        )
        if same:
            groups[-1].append(entry)
        else:
            groups.append([entry])
    return tuple(_block(group, scale) for group in groups)


def _block(group: Sequence[Entry], scale: _Scale) -> Block:
    x = scale.x(group[0].record.run.window.end) - scale.step / 2
    width = scale.x(group[-1].record.run.window.end) + scale.step / 2 - x
    of = group[0].champion_months or "another model"
    span = group[0].record.months if len(group) == 1 else f"{group[0].record.months} and later"
    return Block(
        x=round(x, 1),
        width=round(max(width - 1.5, 1.0), 1),
        label=of if width >= _LABEL * len(of) else "",
        title=f"{span}: {'the model of ' if group[0].champion_months else ''}{of} served",
    )


def _labels(entries: Sequence[Entry], scale: _Scale) -> tuple[tuple[float, str], ...]:
    ends = sorted({entry.record.run.window.end for entry in entries})
    windows = {entry.record.run.window.end: entry.record.run.window for entry in entries}
    chosen = ends[:: math.ceil(len(ends) / _MOST_LABELS)]
    return tuple((scale.x(end), f"{windows[end].with_test_months(1).test_start:%Y-%m}") for end in chosen)


def _marks(scale: _Scale) -> list[float]:
    span = scale.most - scale.least
    power = 10.0 ** math.floor(math.log10(span / _MOST_MARKS))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= _MOST_MARKS)
    first = math.ceil(scale.least / step)
    return [round(step * index, 6) for index in range(first, math.floor(scale.most / step) + 1)]


def _number(day: date) -> int:
    return day.year * 12 + day.month
