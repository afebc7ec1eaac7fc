"""A random sample of rows that come in batches, in memory that does not grow with the rows.

This module imports no other of the product, because the trainer imports it top-level and the report as a
part of its package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


class Drawn(NamedTuple):
    """The rows that were drawn, in the order they came in, and how many they were drawn from."""

    rows: NDArray[Any]
    total: int


def draw(batches: Iterable[NDArray[Any]], most: int, *, seed: int) -> Drawn:
    """Return `most` rows, each equally likely, or all if there are fewer.

    Each row gets a random number, and the rows with the smallest ones are kept. The sample does
    not depend on the order of the rows, because Beam's runner for one machine keeps that of the export, which
    may be the order of time.
    """
    generator = np.random.default_rng(seed)
    rows: list[NDArray[Any]] = [np.empty(0, dtype=object)]
    numbers: list[NDArray[np.float64]] = [np.empty(0)]
    total, limit = 0, 1.0
    for batch in batches:
        drawn = generator.random(len(batch))
        rows.append(batch[drawn < limit])
        numbers.append(drawn[drawn < limit])
        total += len(batch)
        # Pruning at twice the size bounds the memory, and costs each row a constant on average.
        if sum(map(len, rows)) > 2 * most:
            least, limit = _least(numbers, most)
            rows, numbers = [np.concatenate(rows)[least]], [np.concatenate(numbers)[least]]
    least, _ = _least(numbers, most)
    return Drawn(rows=np.concatenate(rows)[least], total=total)


def _least(numbers: list[NDArray[np.float64]], most: int) -> tuple[NDArray[np.int64], float]:
    """Return the places of the `most` smallest numbers, and a bound that they are all below."""
    joined = np.concatenate(numbers)
    if len(joined) <= most:
        return np.arange(len(joined)), 1.0
    places = np.argpartition(joined, most)
    return np.sort(places[:most]), float(joined[places[most]])
