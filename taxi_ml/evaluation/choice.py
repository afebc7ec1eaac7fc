"""The choice of golden rows: a few that cover every slice, the ends of each input, and absent numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from taxi_ml.modules.features import HISTORY, INPUTS, MISSING, NULLABLE_FLOATS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

MOST_ROWS: Final = 200
DRAWN: Final = "drawn at random"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A serialized example, and the reasons for it."""

    record: bytes
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _Candidate:
    """A row; of two with the same reason the smaller one is taken. `lot` is random, and the row's own."""

    value: float
    lot: int
    record: bytes = field(compare=False)


class Choice:
    """Looks at all rows, in any order and in batches of any size, and chooses the same ones each time.

    It keeps a row for each reason, so that its memory does not grow with the rows.
    """

    def __init__(self) -> None:
        self._edges: dict[str, _Candidate] = {}
        self._slices: dict[str, dict[Any, _Candidate]] = {}
        self._counts: dict[str, Counter[Any]] = {}
        self._drawn: list[_Candidate] = []

    def look(
        self,
        records: NDArray[Any],
        lots: NDArray[np.int64],
        inputs: Mapping[str, NDArray[Any]],
        slicing: Mapping[str, NDArray[Any]],
    ) -> None:
        """Take rows into account; every array has the shape [rows].

        Args:
            records: serialized examples.
            lots: a random number for each, which must depend on nothing but the row.
            inputs: the columns of `INPUTS`; an absent number is `MISSING`.
            slicing: the columns whose values are slices.

        """
        for why, rows, values in _edges(inputs):
            if len(rows):
                place = np.lexsort((lots[rows], values))[0]
                row, value = rows[place], float(values[place])
                self._keep(self._edges, why, _Candidate(value=value, lot=lots[row], record=records[row]))
        order = np.argsort(lots, kind="stable")
        for feature, column in slicing.items():
            values, first, counts = np.unique(column[order], return_index=True, return_counts=True)
            found = self._slices.setdefault(feature, {})
            for value, row in zip(values.tolist(), order[first], strict=True):
                self._keep(found, value, _Candidate(value=0.0, lot=lots[row], record=records[row]))
            self._counts.setdefault(feature, Counter()).update(
                dict(zip(values.tolist(), counts.tolist(), strict=True))
            )
        drawn = [_Candidate(value=0.0, lot=lots[row], record=records[row]) for row in order[:MOST_ROWS]]
        self._drawn = sorted([*self._drawn, *drawn])[:MOST_ROWS]

    @staticmethod
    def _keep(best: dict[Any, _Candidate], reason: object, candidate: _Candidate) -> None:
        best[reason] = min(best.get(reason, candidate), candidate)

    def rows(self) -> list[Chosen]:
        """Return up to `MOST_ROWS` rows: for edges and absent numbers, then for slices, then at random."""
        found: dict[bytes, list[str]] = {}
        for why, candidate in self._reasons():
            if candidate.record in found or len(found) < MOST_ROWS:
                found.setdefault(candidate.record, []).append(why)
        for candidate in self._drawn:
            if candidate.record not in found and len(found) < MOST_ROWS:
                found[candidate.record] = [DRAWN]
        return [Chosen(record=record, why=tuple(why)) for record, why in found.items()]

    def _reasons(self) -> Iterator[tuple[str, _Candidate]]:
        """Yield slices of the feature with the fewest values first, and its largest ones first."""
        # By name: which reason was met first depends on the order of the rows.
        yield from sorted(self._edges.items())
        for feature, found in sorted(self._slices.items(), key=lambda each: len(each[1])):
            counts = self._counts[feature]
            for value in sorted(found, key=lambda value: (-counts[value], value)):
                yield f"{feature} {value}", found[value]


def _edges(
    inputs: Mapping[str, NDArray[Any]],
) -> Iterator[tuple[str, NDArray[np.intp], NDArray[np.float64]]]:
    """Yield each reason, the places of the rows that it applies to, and their values: the smallest wins."""
    absent = {name: inputs[name] == MISSING for name in NULLABLE_FLOATS}
    none = np.zeros(len(inputs[INPUTS[0]]), bool)
    for name in INPUTS:
        rows = np.flatnonzero(~absent.get(name, none))
        values = inputs[name][rows].astype(np.float64)
        yield f"smallest {name}", rows, values
        yield f"largest {name}", rows, -values
    for name, is_absent in absent.items():
        rows = np.flatnonzero(is_absent)
        yield f"no {name}", rows, np.zeros(len(rows))
    rows = np.flatnonzero(np.all([absent[name] for name in HISTORY], axis=0))
    yield "no averages", rows, np.zeros(len(rows))
    yield (
        "fewest numbers",
        np.arange(len(none)),
        np.asarray(-np.sum(list(absent.values()), axis=0), np.float64),
    )
