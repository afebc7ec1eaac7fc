"""What a model learned from, as shares of each feature's values, to be compared with other trips later.

A profile is in the model's own inputs: ids of its vocabulary, and standardised logarithms in bins. The
trainer imports this file as a sibling and the report as a module of its package, so it imports neither's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

FILE = "assets.extra/training.json"
"""Beside the model: rows, profile, layout and vocabulary, the latter two to profile other trips alike."""

ABSENT = "absent"
NEW = "new"
"""A category that the model's vocabulary does not have; the rarest are not in it."""

_EDGES = np.linspace(-3.0, 3.0, 13)
"""Bins of half a standard deviation, open at both ends."""

Shares = dict[str, float]


def profile(
    columns: Mapping[str, NDArray[Any]], layout: Mapping[str, Sequence[Any]], vocabulary: Sequence[str]
) -> dict[str, Shares]:
    """Return the shares of each feature's values among transformed rows; `columns` are [rows, n] each.

    `layout` gives each feature its column and index, and a number also those of its flag for absence.
    """
    found: dict[str, Shares] = {}
    for feature, (column, index, *flag) in layout.items():
        values = columns[column][:, index]
        if flag:
            found[feature] = _number_shares(values, columns[flag[0]][:, flag[1]])
        else:
            found[feature] = _category_shares(values, vocabulary)
    return found


def _number_shares(standardised: NDArray[np.float32], absent: NDArray[np.float32]) -> Shares:
    low_ends = np.array(["-inf", *(f"{edge:g}" for edge in _EDGES)], dtype=object)
    return _shares(np.where(absent > 0, ABSENT, low_ends[np.digitize(standardised, _EDGES)]))


def _category_shares(ids: NDArray[np.int64], vocabulary: Sequence[str]) -> Shares:
    names = np.array([*(word.partition("=")[2] for word in vocabulary), NEW], dtype=object)
    return _shares(names[np.minimum(ids, len(vocabulary))])


def _shares(values: NDArray[Any]) -> Shares:
    found, counts = np.unique(values.astype(str), return_counts=True)
    return {str(value): float(count / len(values)) for value, count in zip(found, counts, strict=True)}
