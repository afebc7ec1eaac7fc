"""The geometry of the track record's plot, in units of its view box."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from taxi_ml.card.plots import shown
from taxi_ml.gate.metrics import is_finite
from taxi_ml.record.run import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

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
_LABEL: Final = 40.0
"""The narrowest block that has room for the name of a month."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A challenger's error; `low` and `high` are the ends of its interval, None without one."""

    x: float
    y: float
    low: float | None
    high: float | None
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
    """The champion's errors as a line, the challengers' as dots, what served as blocks, and both axes."""

    line: str
    champions: tuple[tuple[float, float, str], ...]
    challengers: tuple[Dot, ...]
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
        blocks=_blocks([entry for _, entry in sorted(by_month.items())], scale),
        across=_labels(entries, scale),
        up=tuple((scale.y(usd), f"{usd:g}") for usd in _marks(scale)),
    )


def _scale(entries: Sequence[Entry]) -> _Scale:
    usual = [error for entry in entries for error in (entry.mae, entry.champion_mae) if is_finite(error)]
    ends = [end for entry in entries for end in _interval(entry) if is_finite(end)]
    edge = _HIGHEST * median(usual)
    inside = [error for error in (*usual, *ends) if error <= edge] or [1.0]
    least, most = min(inside), max(inside)
    room = 0.08 * (most - least) or 0.5
    months = [_number(entry.record.run.window.end) for entry in entries]
    return _Scale(
        first=min(months),
        months=max(months) - min(months) + 1,
        least=max(0.0, least - room),
        most=most + room,
    )


def _interval(entry: Entry) -> tuple[float | None, float | None]:
    """Return the challenger's error as the interval of its difference from the champion's has it."""
    base, found = entry.champion_mae, entry.difference
    if found is None or base is None or found.low is None or found.high is None:
        return None, None
    return base + found.low, base + found.high


def _dot(entry: Entry, scale: _Scale) -> Dot:
    low, high = _interval(entry)
    return Dot(
        x=scale.x(entry.record.run.window.end),
        y=scale.y(entry.mae or 0.0),
        low=scale.y(low) if is_finite(low) else None,
        high=scale.y(high) if is_finite(high) else None,
        outcome=entry.outcome,
        title=f"{entry.record.months}: challenger {shown(entry.mae)} USD, {entry.outcome}",
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
        label=of if width >= _LABEL + 2 * len(of) else "",
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
