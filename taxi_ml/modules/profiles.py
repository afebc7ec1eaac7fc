"""Profiles of a model's training rows: the shares of each feature's values, for comparison with other trips.

A profile describes the model's own inputs: ids of its vocabulary, and standardised logarithms in bins; and
the label, in tenths of the training rows. This module imports no other of the product, because the trainer
imports it top-level and the report as a part of its package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

FILE = "assets.extra/training.json"
"""Beside the model: rows and profile, and the layout and vocabulary with which to profile other trips."""

ABSENT = "absent"
NEW = "new"
"""A category outside the model's vocabulary, as the rarest are."""

_EDGES = np.linspace(-3.0, 3.0, 13)
"""Bins of half a standard deviation, open at both ends."""

Shares = dict[str, float]


def profile(
    columns: Mapping[str, NDArray[Any]], layout: Mapping[str, Sequence[Any]], vocabulary: Sequence[str]
) -> dict[str, Shares]:
    """Return the shares of each feature's values among transformed rows; `columns` are [rows, n] each.

    `layout` gives each feature its column and index; a number also those of its flag for absence, or the
    edges of its bins if it has no flag.
    """
    found: dict[str, Shares] = {}
    names = np.array([*(word.partition("=")[2] for word in vocabulary), NEW], dtype=object)
    for feature, (column, index, *more) in layout.items():
        values = columns[column][:, index]
        match more:
            case []:
                found[feature] = _shares(names[np.minimum(values, len(vocabulary))])
            case [edges]:
                found[feature] = _shares(_low_ends(values, edges))
            case [flags, place]:
                is_absent = columns[flags][:, place] > 0
                found[feature] = _shares(np.where(is_absent, ABSENT, _low_ends(values, _EDGES)))
    return found


def tenths(values: NDArray[Any]) -> list[float]:
    """Return edges with about a tenth of the values between each two; fewer if many values are equal."""
    return [float(edge) for edge in np.unique(np.quantile(values, np.linspace(0.1, 0.9, 9)))]


def _low_ends(values: NDArray[Any], edges: Sequence[float] | NDArray[Any]) -> NDArray[Any]:
    names = np.array(["-inf", *(f"{edge:g}" for edge in edges)], dtype=object)
    named: NDArray[Any] = names[np.digitize(values, edges)]
    return named


def _shares(values: NDArray[Any]) -> Shares:
    found, counts = np.unique(values.astype(str), return_counts=True)
    return {str(value): float(count / len(values)) for value, count in zip(found, counts, strict=True)}
