"""The domain of a model: the values that its training rows had.

Like `profiles`, this module imports no other of the product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FILE: Final = "assets.extra/domain.json"

SHARES: Final = (0.001, 0.999)
"""The quantiles of a number between which its domain lies: single mistakes of a meter stay outside."""
YEAR_SECONDS: Final = 365 * 86_400
"""A model answers for the year after its newest trip: fares and traffic change later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """The least and the largest of each number, the values of each category, and the lowest fare in USD."""

    numbers: Mapping[str, tuple[float, float]]
    categories: Mapping[str, frozenset[int]]
    least_fare: float

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Self:
        """Read what `content` returned.

        Raises:
            KeyError, TypeError, ValueError: if it is not that.

        """
        return cls(
            numbers={name: (float(low), float(high)) for name, (low, high) in content["numbers"].items()},
            categories={name: frozenset(map(int, values)) for name, values in content["categories"].items()},
            least_fare=float(content["least_fare"]),
        )

    @property
    def content(self) -> dict[str, Any]:
        """The domain as a JSON object."""
        categories = {name: sorted(values) for name, values in self.categories.items()}
        return {"numbers": dict(self.numbers), "categories": categories, "least_fare": self.least_fare}

    def outside(self, row: Mapping[str, float]) -> list[str]:
        """Return the features of an instance that are outside; an unknown number, below 0, is not."""
        numbers = [
            name
            for name, (low, high) in self.numbers.items()
            if row[name] >= 0 and not low <= row[name] <= high
        ]
        return numbers + [name for name, values in self.categories.items() if row[name] not in values]


def number_ranges(raw: Mapping[str, NDArray[Any]]) -> dict[str, tuple[float, float]]:
    """Return the range of each column's known values, those of at least 0; none for a column without any."""
    known = {name: values[values >= 0] for name, values in raw.items()}
    return {
        name: (float(low), float(high))
        for name, values in known.items()
        if len(values)
        for low, high in [np.quantile(values, SHARES)]
    }


def least_fare(fares: NDArray[Any], timestamps: NDArray[Any]) -> float:
    """Return the lowest fare, USD, of the year before the newest trip; `timestamps` are Unix seconds."""
    return float(fares[timestamps > timestamps.max() - YEAR_SECONDS].min())
