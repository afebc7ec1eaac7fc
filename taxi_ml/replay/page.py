"""The replay as one HTML page, and the geometry of its plots in units of their view boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import jinja2

from taxi_ml.card.plots import IntervalBar, shown

if TYPE_CHECKING:
    from taxi_ml.replay.document import PolicyResult, Replay

_FOLDER: Final = Path(__file__).parent
_TEMPLATE: Final = "replay.html.jinja"
_WIDTH: Final = 360.0
_LEFT: Final = 34.0
_RIGHT: Final = 10.0
_TOP: Final = 8.0
_BOTTOM: Final = 156.0
_NAMES: Final = 92.0
_MOST_MARKS: Final = 6
_MOST_LABELS: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A polyline: its points, and each point's place with a title; `style` is a number from 0."""

    name: str
    style: int
    points: str
    dots: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Lines, and the marks of both axes: places with their labels."""

    lines: tuple[Line, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]


def render(replay: Replay) -> str:
    """Return the page; equal replays give equal pages, and their strings are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fixed"] = shown
    environment.filters["month"] = month_name
    return environment.get_template(_TEMPLATE).render(
        replay=replay,
        gated=[policy for policy in replay.policies if any(month.verdict for month in policy.months)],
        codes=sorted({code for policy in replay.policies for code in policy.rejections}),
        intervals=interval_bars(replay),
        months=month_lines(replay),
        power=power_lines(replay),
    )


def month_name(window: str) -> str:
    """Return the end of a window without its lengths, as in 2015-07."""
    return window.partition("_")[0]


def interval_bars(replay: Replay) -> tuple[IntervalBar, ...]:
    """Return the differences of the policies' MAE from the reference on one scale, with 0 in it."""
    found = {each.name: each.users.against for each in replay.policies if each.name != replay.reference}
    ends = [0.0, *(end for each in found.values() for end in (each.low, each.high))]
    least, span = min(ends), (max(ends) - min(ends)) or 1.0

    def place(usd: float) -> float:
        return round(_NAMES + (_WIDTH - _NAMES - _RIGHT) * (usd - least) / span, 1)

    zero = place(0.0)
    side = "start" if zero < _WIDTH / 2 else "end"
    return tuple(
        IntervalBar(
            name=name,
            low=place(each.low),
            estimate=place(each.estimate),
            high=place(each.high),
            zero=zero,
            side=side,
        )
        for name, each in found.items()
    )


def month_lines(replay: Replay) -> Plot:
    """Return the MAE of each month's users by policy, from the second month on."""
    served = replay.months[1:]
    errors = {
        policy.name: [month.mae for month in policy.months if month.mae is not None]
        for policy in replay.policies
    }
    every = [error for each in errors.values() for error in each]
    least, most = math.floor(10 * min(every)) / 10, math.ceil(10 * max(every)) / 10 or 1.0
    step = max(1, len(served) - 1)

    def place(index: int, usd: float) -> tuple[float, float]:
        share = (usd - least) / ((most - least) or 1.0)
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * index / step
        return round(x, 1), round(_BOTTOM - (_BOTTOM - _TOP) * share, 1)

    return Plot(
        lines=tuple(
            _line(
                name,
                style,
                [
                    (*place(index, usd), f"{name}, {month_name(served[index])}: {shown(usd, 3)} USD")
                    for index, usd in enumerate(each)
                ],
            )
            for style, (name, each) in enumerate(errors.items())
        ),
        across=tuple(
            (place(index, least)[0], month_name(served[index]))
            for index in range(0, len(served), math.ceil(len(served) / _MOST_LABELS))
        ),
        up=tuple((place(0, usd)[1], shown(usd)) for usd in _marks(least, most)),
    )


def power_lines(replay: Replay) -> Plot | None:
    """Return the shares of equal and of worse models that are promoted, over the logarithm of the rows."""
    known = [policy for policy in replay.policies if policy.power]
    if not known:
        return None
    sizes = sorted({point.rows for policy in known for point in policy.power})
    least, span = math.log(sizes[0]), math.log(sizes[-1] / sizes[0]) or 1.0

    def place(rows: int, share: float) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - 2 * _RIGHT) * (math.log(rows) - least) / span
        return round(x, 1), round(_BOTTOM - (_BOTTOM - _TOP) * share, 1)

    def line(policy: PolicyResult, kind: str, style: int) -> Line:
        name = f"{policy.name}, {'equal' if kind == 'equal' else '2 % worse'}"
        points = [(point.rows, getattr(point, kind)) for point in policy.power]
        return _line(
            name,
            style,
            [(*place(rows, share), f"{name}: {share:.0%} of {rows} rows") for rows, share in points],
        )

    return Plot(
        lines=tuple(
            line(policy, kind, 2 * index + offset)
            for index, policy in enumerate(known)
            for offset, kind in enumerate(("equal", "worse"))
        ),
        across=tuple((place(rows, 0)[0], f"{rows:,}") for rows in sizes),
        up=tuple((place(sizes[0], share)[1], f"{share:.0%}") for share in (0.0, 0.25, 0.5, 0.75, 1.0)),
    )


def _line(name: str, style: int, dots: list[tuple[float, float, str]]) -> Line:
    return Line(name=name, style=style, points=" ".join(f"{x},{y}" for x, y, _ in dots), dots=tuple(dots))


def _marks(least: float, most: float) -> list[float]:
    step = next(
        size * factor
        for size in (0.1, 1.0, 10.0, 100.0, 1e6)
        for factor in (1, 2, 5)
        if (most - least) / (size * factor) <= _MOST_MARKS or size > 1e5  # noqa: PLR2004
    )
    count = int((most - least) / step + 1e-9)
    return [least + step * index for index in range(count + 1)]
