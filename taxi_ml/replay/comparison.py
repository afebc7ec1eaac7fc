"""Users' errors under several policies, with intervals by day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from taxi_ml.evaluation.scores import CLIP_USD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from taxi_ml.replay.simulation import Chain, Trips
    from taxi_ml.replay.stored import Numbers

REPLICATES: Final = 2000
_PERCENTILES: Final = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number in USD with its 95 % interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UserErrors:
    """What the users of a policy would have met, USD; `against` is its MAE minus that of the reference."""

    mae: Estimate
    clipped_rmse: Estimate
    rmse: Estimate
    against: Estimate


def compare(
    chains: Sequence[Chain], users: Sequence[Trips], *, reference: str, seed: int
) -> Mapping[str, UserErrors]:
    """Return the errors of each policy over all trips, and its difference from the policy `reference`.

    The interval is the percentile bootstrap over days: trips of one day share weather and events, so that
    trips drawn one by one would make it too narrow. All policies are scored on the same draws.
    """
    days = np.concatenate([trips.days for trips in users])
    _, day = np.unique(days, return_inverse=True)
    count = int(day.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=REPLICATES)
    # The first row of weights counts every day once, and gives the estimates.
    weights = np.concatenate([np.ones((1, count)), drawn])
    totals = weights @ np.bincount(day)
    means = {chain.policy: _means(chain.errors, day, weights) / totals for chain in chains}
    return {
        name: UserErrors(
            mae=_estimate(sizes),
            clipped_rmse=_estimate(np.sqrt(clipped)),
            rmse=_estimate(np.sqrt(squares)),
            against=_estimate(sizes - means[reference][0]),
        )
        for name, (sizes, clipped, squares) in means.items()
    }


def _means(errors: Numbers, day: NDArray[np.int64], weights: Numbers) -> Numbers:
    """Return weighted sums of |error|, clipped and whole squares, [3, replicates]."""
    sizes = np.abs(errors)
    columns = (sizes, np.minimum(sizes, CLIP_USD) ** 2, sizes**2)
    sums: Numbers = (weights @ np.stack([np.bincount(day, column) for column in columns], axis=1)).T
    return sums


def _estimate(draws: Numbers) -> Estimate:
    low, high = np.percentile(draws[1:], _PERCENTILES)
    return Estimate(estimate=float(draws[0]), low=float(low), high=float(high))
