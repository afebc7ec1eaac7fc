"""Errors of predicted fares, and their summaries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

BASELINE = "boosted trees"
"""The baseline of every run's report, `taxi_ml/evaluation/baseline.py`."""


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
