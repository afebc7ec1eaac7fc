"""Errors of predicted fares, and their summaries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

BASELINE = "boosted trees"
"""The baseline of every run's report, `taxi_ml/evaluation/baseline.py`."""
DRAWS: Final = 2000


@dataclass(frozen=True, slots=True)
class Errors:
    """Predicted minus true fare of every trip, USD."""

    usd: list[float]

    @property
    def count(self) -> int:
        """The number of trips."""
        return len(self.usd)

    @property
    def rmse(self) -> float:
        """Root of the mean squared error, USD."""
        return math.sqrt(sum(error**2 for error in self.usd) / len(self.usd))

    @property
    def mae(self) -> float:
        """Mean absolute error, USD."""
        return sum(map(abs, self.usd)) / len(self.usd)


def pooled(parts: Iterable[Errors]) -> Errors:
    """Return the errors of all trips together."""
    return Errors(list(chain.from_iterable(part.usd for part in parts)))


def ratio_interval(ours: Errors, theirs: Errors, power: int) -> tuple[float, float]:
    """Return the 95 % interval of a ratio over the same trips: of the MAEs for 1, of the RMSEs for 2.

    It is the percentile bootstrap over trips, both models on the same draw.
    """
    sizes = np.abs(np.array([ours.usd, theirs.usd])) ** power
    generator = np.random.default_rng(1)
    drawn = (sizes[:, generator.integers(ours.count, size=ours.count)].sum(axis=1) for _ in range(DRAWS))
    ratios = [(mine / other) ** (1 / power) for mine, other in drawn]
    low, high = np.percentile(ratios, (2.5, 97.5))
    return float(low), float(high)
