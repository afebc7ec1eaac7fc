"""Prediction intervals: by how much the fares of held-out trips missed the model's, by distance band.

Split conformal prediction within groups (Vovk, 2012, "Conditional validity of inductive conformal
predictors"): if later trips are like the held-out ones, an interval holds the fares of at least `COVERAGE` of
each band's trips. Like `profiles`, this module imports no other of the product.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FILE: Final = "assets.extra/intervals.json"

FEATURE: Final = "rawDistance"
TAIL: Final = 0.05
"""The share of fares that may be below an interval, and above it."""
COVERAGE: Final = 1 - 2 * TAIL
STARTS: Final = (-math.inf, 0.0, 1.0, 1000.0, 2000.0, 3500.0, 5000.0, 10_000.0, 20_000.0)
"""Metres at which bands start: unknown distances, trips within an area, and ever longer ones."""
LEAST_ROWS: Final = 19
"""So few rows have a 5 % quantile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Trips of at least `start` metres: fares are from `low` below to `high` above the prediction, USD."""

    start: float
    rows: int
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """The bands in order of their start."""

    bands: tuple[Band, ...]

    @classmethod
    def of(cls, metres: NDArray[Any], errors: NDArray[Any]) -> Self:
        """Calibrate on true minus predicted fares, USD, of held-out trips; a negative distance is unknown.

        Raises:
            ValueError: if there are none.

        """
        if not len(errors):
            raise ValueError("there are no held-out trips to calibrate intervals on")
        band = _bands(metres, STARTS)
        return cls(
            bands=tuple(_band(start, errors[band == index], errors) for index, start in enumerate(STARTS))
        )

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Self:
        """Read what `content` returned.

        Raises:
            KeyError, TypeError: if it is not that.

        """
        bands = [
            band | {"start": -math.inf if band["start"] is None else band["start"]}
            for band in content["bands"]
        ]
        return cls(bands=tuple(Band(**band) for band in bands))

    @property
    def content(self) -> dict[str, Any]:
        """The intervals as a JSON object; the start of unknown distances is null."""
        bands = [
            asdict(band) | {"start": band.start if math.isfinite(band.start) else None} for band in self.bands
        ]
        return {"coverage": COVERAGE, "feature": FEATURE, "bands": bands}

    def around(self, metres: NDArray[Any]) -> NDArray[np.float64]:
        """Return what to add to predicted fares for both ends, [rows, 2]."""
        ends = np.array([[band.low, band.high] for band in self.bands])
        found: NDArray[np.float64] = ends[_bands(metres, [band.start for band in self.bands])]
        return found


def _bands(metres: NDArray[Any], starts: Any) -> NDArray[np.int64]:  # noqa: ANN401  # any sequence of numbers
    return np.searchsorted(np.asarray(starts), metres, side="right") - 1


def _band(start: float, errors: NDArray[Any], all_errors: NDArray[Any]) -> Band:
    """Take the band's own quantiles; with few rows, the widest of these and of those of all rows."""
    ends = [_quantiles(each) for each in (errors, all_errors) if len(each)]
    lows, highs = zip(*(ends[:1] if len(errors) >= LEAST_ROWS else ends), strict=True)
    # The prediction itself is always inside.
    return Band(start=start, rows=len(errors), low=min(0.0, *lows), high=max(0.0, *highs))


def _quantiles(errors: NDArray[Any]) -> tuple[float, float]:
    """Return the errors that a share of `TAIL` of new ones is below, and above."""
    beyond = max(math.floor((len(errors) + 1) * TAIL), 1)
    ordered = np.sort(errors)
    return float(ordered[beyond - 1]), float(ordered[-beyond])
