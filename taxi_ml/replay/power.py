"""The power curve of a policy: how often it promotes an equal model, and a worse one, by the number of rows.

Trips are drawn from all months with their stored errors. For each trip, chance decides which of two
neighboring months' models is the challenger, so that both are equal by construction and differ from trip to
trip as real models do. The worse one is the same challenger with errors that are 2 % larger. The baseline is
taken to be as good as the champion: in few trips drawn very often, chance differences would be true ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from taxi_ml.evaluation.scores import Predictions, metrics
from taxi_ml.evaluation.slicing import slices
from taxi_ml.gate.decision import Verdict, decide
from taxi_ml.gate.metrics import Reference, Role
from taxi_ml.gate.report import ScoredChampion
from taxi_ml.replay.stored import BASELINE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from taxi_ml.gate.policy import Policy
    from taxi_ml.gate.report import Report
    from taxi_ml.replay.stored import Month, Numbers, Stored

SIZES: Final = (380, 1_140, 4_000, 20_000, 100_000)
DRAWS: Final = 100
WORSE: Final = 1.02
_SEED: Final = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerAt:
    """Shares of the draws of so many rows that were promoted: of an equal model, and of one 2 % worse."""

    rows: int
    equal: float
    worse: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Trips to draw from: fares, errors of two models, [2, rows], in USD, and the columns to slice by."""

    fares: Numbers
    errors: Numbers
    slicing: Mapping[str, NDArray[Any]]


def power(
    stored: Stored, policy: Policy, *, sizes: Sequence[int] = SIZES, draws: int = DRAWS
) -> tuple[PowerAt, ...]:
    """Return the curve; the gate decides on a report of every draw."""
    pool = _pooled(list(pairwise(stored.months)))
    base = _healthy(stored.months[-1].judged.report)
    generator = np.random.default_rng(_SEED)
    found = []
    for size in sizes:
        promoted = dict.fromkeys((1.0, WORSE), 0)
        for _ in range(draws):
            rows, swapped = generator.integers(len(pool.fares), size=size), generator.integers(2, size=size)
            for growth in promoted:
                report = _report(_drawn(pool, rows, swapped, growth), _sliced(pool, rows), base)
                promoted[growth] += decide(policy, report).verdict is Verdict.PROMOTE
        found.append(PowerAt(rows=size, equal=promoted[1.0] / draws, worse=promoted[WORSE] / draws))
    return tuple(found)


def _healthy(report: Report) -> Report:
    """Return a report without findings about data and training, which do not depend on the number of rows."""
    return replace(
        report, anomalies=(), drift=(), skew=(), blessed=True, unchanged=False, tuner=None, fit=None
    )


def _pooled(pairs: Sequence[tuple[Month, Month]]) -> Pool:
    after = [month for _, month in pairs]
    return Pool(
        fares=np.concatenate([month.rows.fares for month in after]),
        errors=np.stack(
            [
                np.concatenate([month.predictions[month.id] - month.rows.fares for month in after]),
                np.concatenate([month.predictions[before.id] - month.rows.fares for before, month in pairs]),
            ]
        ),
        # Codes, because numbers sort much faster than strings.
        slicing={
            name: np.unique(
                np.concatenate([month.rows.slicing[name] for month in after]), return_inverse=True
            )[1]
            for name in after[0].rows.slicing
        },
    )


def _drawn(pool: Pool, rows: NDArray[np.int64], swapped: NDArray[np.int64], growth: float) -> Predictions:
    fares = pool.fares[rows]
    champion = fares + pool.errors[1 - swapped, rows]
    challenger = fares + growth * pool.errors[swapped, rows]
    return Predictions(fares=fares, challenger=challenger, champion=champion, baseline=champion)


def _sliced(pool: Pool, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    return {name: values[rows] for name, values in pool.slicing.items()}


def _report(drawn: Predictions, slicing: Mapping[str, NDArray[Any]], base: Report) -> Report:
    # All rows as one slice: its normal intervals take a thousandth of a bootstrap's time.
    (whole,) = slices(drawn, {"": np.zeros(len(drawn.fares))})
    reference = (
        Reference(
            role=Role.BASELINE,
            name=BASELINE,
            uri="",
            metrics=whole.baseline,
            difference=whole.baseline_difference,
        )
        if whole.baseline
        else None
    )
    return replace(
        base,
        rows=replace(base.rows, test=whole.count),
        challenger=replace(base.challenger, metrics=whole.challenger, quotable=None),
        champion=ScoredChampion(
            name="other", uri="other", metrics=whole.champion or metrics(drawn.fares, drawn.fares)
        ),
        difference=whole.difference,
        references=(reference,) if reference else (),
        slices=slices(drawn, slicing),
    )
