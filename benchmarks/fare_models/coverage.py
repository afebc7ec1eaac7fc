"""Count how often the report's 95 % intervals miss: `python -m benchmarks.fare_models.coverage <stored>`.

The trips and predictions that `benchmarks.fare_models.judged` stored are taken for all trips there are, so
that the true difference between two models is known; reports of trips drawn from them are compared with it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from taxi_ml.evaluation import scores
from taxi_ml.gate.metrics import DIFFERENCES
from taxi_ml.replay import stored
from taxi_ml.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from taxi_ml.gate.metrics import Difference

    Numbers = NDArray[np.float64]

OURS: Final = "ours"
OTHERS: Final = ("previous", stored.BASELINE)
_SEED: Final = 20
_SAMPLES: Final = ((380, 2000), (1140, 2000), (10_000, 1000))
_CENTS: Final = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the share of intervals that lie below the true difference, and of those above it."""
    options = _options(arguments)
    errors = errors_of(stored.load(Storage(), options.stored))
    if options.keep:
        cents = {name: np.rint(values * _CENTS).astype(np.int16) for name, values in errors.items()}
        np.savez_compressed(options.keep, allow_pickle=False, **cents)
    largest = np.sort(errors[OURS] ** 2)[::-1]
    share = largest[: len(largest) // 100].sum() / largest.sum()
    print(f"{len(largest)} trips; 1 % of them hold {share:.0%} of the squared error")
    for other in OTHERS:
        for rows, samples in _SAMPLES:
            found = misses(errors[OURS], errors[other], rows=rows, samples=samples)
            sides = "  ".join(f"{metric} {low:.1%} {high:.1%}" for metric, (low, high) in found.items())
            print(f"{other:9} {rows:6} rows, {samples} samples   {sides}", flush=True)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fare_models.coverage", description=__doc__)
    parser.add_argument("stored", help="folder or gs:// address of stored predictions")
    parser.add_argument("--keep", type=Path, metavar="NPZ", help="write the errors, in cents, for the tests")
    return parser.parse_args(arguments)


def errors_of(months: stored.Stored) -> dict[str, Numbers]:
    """Return predicted minus true fare, USD, of each month's model, the previous one and the baseline."""
    pairs = list(zip(months.months[1:], months.months, strict=False))
    models = {OURS: [month.id for month, _ in pairs], "previous": [before.id for _, before in pairs]}
    models[stored.BASELINE] = [stored.BASELINE] * len(pairs)
    return {
        name: np.concatenate(
            [
                month.predictions[model] - month.rows.fares
                for (month, _), model in zip(pairs, ids, strict=True)
            ]
        )
        for name, ids in models.items()
    }


def kept(path: Path) -> dict[str, Numbers]:
    """Return the errors that `--keep` wrote, USD."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name].astype(np.float64) / _CENTS for name in file.files}


def misses(ours: Numbers, theirs: Numbers, *, rows: int, samples: int) -> Mapping[str, tuple[float, float]]:
    """Return, by metric, the shares of intervals below and above the true difference.

    Each of `samples` intervals is of `rows` trips, drawn with replacement.
    """
    true = _difference(ours, theirs)
    count = {metric: [0, 0] for metric in DIFFERENCES}
    for sample in range(samples):
        drawn = np.random.default_rng((_SEED, rows, sample)).integers(len(ours), size=rows)
        found = _difference(ours[drawn], theirs[drawn])
        for metric, sides in count.items():
            interval, expected = getattr(found, metric), getattr(true, metric).estimate
            sides[0] += interval.high < expected
            sides[1] += interval.low > expected
    return {metric: (below / samples, above / samples) for metric, (below, above) in count.items()}


def _difference(ours: Numbers, theirs: Numbers) -> Difference:
    found = scores.paired(np.zeros(len(ours)), ours, theirs, seed=_SEED)
    if found is None:
        raise ValueError("there are no trips; score a month that has test rows")
    return found


if __name__ == "__main__":
    sys.exit(main())
