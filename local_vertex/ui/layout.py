"""Lays out the graph of a pipeline: layers from top to bottom, few crossings (pure)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NODE_WIDTH = 184.0
NODE_HEIGHT = 46.0
_BEND_WIDTH = 24.0
_GAP = 22.0
_LAYER_GAP = 28.0
_MARGIN = 6.0
_SWEEPS = 8

_Bend: TypeAlias = tuple[str, str, int]
_Item: TypeAlias = "str | _Bend"
"""A node, or the place where an edge crosses a layer on its way to one further down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One arrow; `points` lead from the lower edge of its start to the upper edge of its end."""

    start: str
    end: str
    points: tuple[tuple[float, float], ...]

    @property
    def path(self) -> str:
        """The arrow as the `d` of an SVG path: vertical where it leaves and where it arrives."""
        (x, y), *rest = self.points
        parts = [f"M{x:.1f} {y:.1f}"]
        for to_x, to_y in rest:
            middle = (y + to_y) / 2
            parts.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
            x, y = to_x, to_y
        return " ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A drawn graph, in units of CSS pixels; `corners` are the upper left corners of the nodes."""

    width: float
    height: float
    corners: Mapping[str, tuple[float, float]]
    edges: tuple[Edge, ...]


def draw(needs: Mapping[str, Iterable[str]]) -> Picture:
    """Return the picture of a graph without cycles; `needs` maps each node to those before it.

    After Sugiyama, Tagawa and Toda (1981): layers by longest path, order by barycenters. Arrows that
    longer ways imply are left out.
    """
    wanted = _reduced(needs)
    layers = _layers(wanted)
    edges = [(start, end) for end, starts in wanted.items() for start in sorted(starts)]
    rows, links = _with_bends(layers, edges)
    _order(rows, links)
    centres = _place(rows, links)
    return _picture(rows, centres, edges, layers)


def _reduced(needs: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """Drop edges that others imply, and nodes that do not exist."""
    direct = {node: {each for each in before if each in needs} for node, before in needs.items()}
    above: dict[str, set[str]] = {}
    for node in TopologicalSorter(direct).static_order():
        above[node] = direct[node].union(*(above[each] for each in direct[node]))
    return {
        node: {each for each in before if not any(each in above[other] for other in before)}
        for node, before in direct.items()
    }


def _layers(needs: Mapping[str, set[str]]) -> dict[str, int]:
    layers: dict[str, int] = {}
    for node in TopologicalSorter(needs).static_order():
        layers[node] = max((layers[each] + 1 for each in needs[node]), default=0)
    return layers


def _with_bends(
    layers: Mapping[str, int], edges: Sequence[tuple[str, str]]
) -> tuple[list[list[_Item]], list[tuple[_Item, _Item]]]:
    """Return the items of each layer, and the links between neighboring layers."""
    rows: list[list[_Item]] = [[] for _ in range(max(layers.values(), default=-1) + 1)]
    for node, layer in layers.items():
        rows[layer].append(node)
    links: list[tuple[_Item, _Item]] = []
    for start, end in edges:
        chain = _chain(start, end, layers)
        for layer, item in enumerate(chain[1:-1], start=layers[start] + 1):
            rows[layer].append(item)
        links += list(itertools.pairwise(chain))
    return rows, links


def _chain(start: str, end: str, layers: Mapping[str, int]) -> list[_Item]:
    return [start, *((start, end, layer) for layer in range(layers[start] + 1, layers[end])), end]


def _neighbours(links: Iterable[tuple[_Item, _Item]]) -> tuple[dict[_Item, list[_Item]], ...]:
    above: dict[_Item, list[_Item]] = {}
    below: dict[_Item, list[_Item]] = {}
    for upper, lower in links:
        above.setdefault(lower, []).append(upper)
        below.setdefault(upper, []).append(lower)
    return above, below


def _order(rows: list[list[_Item]], links: Sequence[tuple[_Item, _Item]]) -> None:
    """Sort each layer by the positions of its neighbors, downward and upward in turn."""
    above, below = _neighbours(links)
    for sweep in range(_SWEEPS):
        order, neighbours = (rows, above) if sweep % 2 == 0 else (rows[::-1], below)
        for row, fixed in zip(order[1:], order, strict=False):
            position = {item: place for place, item in enumerate(fixed)}
            own = {item: float(place) for place, item in enumerate(row)}
            row.sort(key=lambda item: _mean([position[n] for n in neighbours.get(item, [])], own[item]))


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _place(rows: Sequence[Sequence[_Item]], links: Sequence[tuple[_Item, _Item]]) -> dict[_Item, float]:
    """Return the center of each item: as near to its neighbors' as the ones beside it allow."""
    centres: dict[_Item, float] = {}
    for row in rows:
        width = sum(map(_width, row)) + _GAP * (len(row) - 1)
        left = -width / 2
        for item in row:
            centres[item] = left + _width(item) / 2
            left += _width(item) + _GAP
    above, below = _neighbours(links)
    for sweep in range(_SWEEPS):
        order, neighbours = (rows, above) if sweep % 2 == 0 else (rows[::-1], below)
        for row in order:
            wanted = [_mean([centres[n] for n in neighbours.get(item, [])], centres[item]) for item in row]
            centres.update(zip(row, _apart(row, wanted), strict=True))
    return centres


def _apart(row: Sequence[_Item], wanted: Sequence[float]) -> list[float]:
    """Return the wanted centers moved apart: the mean of pushing to the right and to the left."""
    distances = [(_width(item) + _width(after)) / 2 + _GAP for item, after in itertools.pairwise(row)]
    right, left = list(wanted), list(wanted)
    for place, distance in enumerate(distances):
        right[place + 1] = max(right[place + 1], right[place] + distance)
    for place in reversed(range(len(distances))):
        left[place] = min(left[place], left[place + 1] - distances[place])
    return [(one + other) / 2 for one, other in zip(right, left, strict=True)]


def _width(item: _Item) -> float:
    return NODE_WIDTH if isinstance(item, str) else _BEND_WIDTH


def _picture(
    rows: Sequence[Sequence[_Item]],
    centres: Mapping[_Item, float],
    edges: Iterable[tuple[str, str]],
    layers: Mapping[str, int],
) -> Picture:
    left = min((centres[item] - _width(item) / 2 for row in rows for item in row), default=0.0) - _MARGIN
    right = max((centres[item] + _width(item) / 2 for row in rows for item in row), default=0.0) + _MARGIN
    top = {layer: _MARGIN + layer * (NODE_HEIGHT + _LAYER_GAP) for layer in range(len(rows))}

    def points(start: str, end: str) -> tuple[tuple[float, float], ...]:
        first, *bends, last = _chain(start, end, layers)
        inner = [
            (centres[item] - left, top[layer] + side)
            for layer, item in enumerate(bends, start=layers[start] + 1)
            for side in (0.0, NODE_HEIGHT)
        ]
        leave = (centres[first] - left, top[layers[start]] + NODE_HEIGHT)
        return (leave, *inner, (centres[last] - left, top[layers[end]]))

    return Picture(
        width=right - left,
        height=max(top.values(), default=0.0) + NODE_HEIGHT + _MARGIN,
        corners={node: (centres[node] - left - NODE_WIDTH / 2, top[layer]) for node, layer in layers.items()},
        edges=tuple(Edge(start=start, end=end, points=points(start, end)) for start, end in edges),
    )
