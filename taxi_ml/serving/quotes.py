"""What makes a quote of a fare: its areas' history, its range, and the features beyond the training rows."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from taxi_ml.modules import averages, domains, intervals
from taxi_ml.modules.averages import PairAverages
from taxi_ml.modules.domains import Domain
from taxi_ml.modules.intervals import Intervals
from taxi_ml.serving.instances import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from taxi_ml.serving.instances import InstanceContract

    Row = Mapping[str, int | float]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteBook:
    """What lies beside a model; a model of an earlier version may lack any of it."""

    averages: PairAverages | None = None
    intervals: Intervals | None = None
    domain: Domain | None = None

    @classmethod
    def load(cls, folder: Path, contract: InstanceContract) -> Self:
        """Read what there is beside the SavedModel in `folder`.

        Raises:
            ContractError: for a file that cannot be read, or that is about features that instances lack.

        """
        return cls(
            averages=_read(folder / averages.FILE, _load_averages, contract),
            intervals=_read(folder / intervals.FILE, _load_intervals, contract),
            domain=_read(folder / domains.FILE, _load_domain, contract),
        )

    def completed(self, rows: Sequence[Row]) -> tuple[Sequence[Row], list[list[str]]]:
        """Fill in the pair averages of rows without any, and return which were found for each row.

        A row with one of them has a history of its own, in which the others are unknown.
        """
        looked_up: list[list[str]] = [[] for _ in rows]
        without = [
            index
            for index, row in enumerate(rows)
            if self.averages and all(row[name] < 0 for name in averages.NAMES)
        ]
        if self.averages is None or not without:
            return rows, looked_up
        pairs = np.array([[rows[index][name] for name in averages.AREAS] for index in without], np.int64)
        filled = list(rows)
        for index, found in zip(without, self.averages.find(pairs).tolist(), strict=True):
            known = {name: value for name, value in zip(averages.NAMES, found, strict=True) if value >= 0}
            filled[index] = {**rows[index], **known}
            looked_up[index] = list(known)
        return filled, looked_up

    def details(
        self, rows: Sequence[Row], fares: Sequence[float], looked_up: Sequence[Sequence[str]]
    ) -> list[dict[str, Any]]:
        """Return a JSON object for each fare, USD; without intervals, `low` and `high` are null."""
        return [
            {
                "fare": fare,
                "low": low,
                "high": high,
                "out_of_domain": self.domain.outside(row) if self.domain else [],
                "looked_up": names,
            }
            for row, fare, (low, high), names in zip(
                rows, fares, self._ranges(rows, fares), looked_up, strict=True
            )
        ]

    def _ranges(
        self, rows: Sequence[Row], fares: Sequence[float]
    ) -> Sequence[tuple[float | None, float | None]]:
        if self.intervals is None:
            return [(None, None)] * len(rows)
        metres = np.array([row[intervals.FEATURE] for row in rows])
        least = self.domain.least_fare if self.domain else 0.0
        return [
            (max(fare + low, min(fare, least)), fare + high)
            for fare, (low, high) in zip(fares, self.intervals.around(metres).tolist(), strict=True)
        ]


def _read(path: Path, load: Callable[[Path], tuple[_T, set[str]]], contract: InstanceContract) -> _T | None:
    """Load a file that reads some features, unless it is not there."""
    if not path.is_file():
        return None
    try:
        found, names = load(path)
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ContractError(f"{path.name} beside the model cannot be read: {error!r}") from error
    if lacking := sorted(names - {feature.name for feature in contract.features}):
        raise ContractError(f"{path.name} beside the model is about {lacking}, which its instances lack")
    return found


def _load_averages(path: Path) -> tuple[PairAverages, set[str]]:
    with path.open("rb") as file:
        return PairAverages.load(file), {*averages.AREAS, *averages.NAMES}


def _load_intervals(path: Path) -> tuple[Intervals, set[str]]:
    return Intervals.parse(json.loads(path.read_text())), {intervals.FEATURE}


def _load_domain(path: Path) -> tuple[Domain, set[str]]:
    domain = Domain.parse(json.loads(path.read_text()))
    return domain, {*domain.numbers, *domain.categories}
