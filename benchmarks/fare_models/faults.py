"""Faults of a month's export or training, which a gate should keep from users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from taxi_ml.modules import features
from taxi_ml.splits import Split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Rows = list[dict[str, list[Any]]]
Splits = dict[Split, Rows]
_METRES = "rawDistance"
_HOUR = "TripStartHour"
_TRAINED = (Split.TRAIN, Split.EVAL)
FEW_STEPS: Final = 20
"""The batches of a training that ends early; 14 passes over 6,000 trips are 330."""


def _everywhere(
    change: Callable[[dict[str, list[Any]]], Mapping[str, list[Any]]],
) -> Callable[[Splits], Splits]:
    """Return the fault that changes every row of every split."""
    return lambda splits: {split: [row | change(row) for row in rows] for split, rows in splits.items()}


def _shifted(splits: Splits) -> Splits:
    """Give every trip that the model learns from the fare of the trip before it."""
    label = features.LABEL
    shifted = {
        split: [row | {label: before[label]} for row, before in zip(rows, [rows[-1], *rows], strict=False)]
        for split, rows in splits.items()
        if split in _TRAINED
    }
    return splits | shifted


def _truncated(splits: Splits) -> Splits:
    """Keep a twentieth of the trips to learn from, and the first ten days of the test month."""
    kept = {split: splits[split][:: 20 if split is Split.TRAIN else 4] for split in _TRAINED}
    return splits | kept | {Split.TEST: [row for row in splits[Split.TEST] if row["TripStartDay"][0] <= 10]}  # noqa: PLR2004


FAULTS: Final[Mapping[str, Callable[[Splits], Splits]]] = {
    "fares x 100": _everywhere(lambda row: {features.LABEL: [row[features.LABEL][0] * 100]}),
    "km for metres": _everywhere(
        lambda row: {_METRES: [row[_METRES][0] / 1000 if row[_METRES][0] > 0 else row[_METRES][0]]}
    ),
    "hour 99": _everywhere(lambda _: {_HOUR: [99]}),
    "constant hour": _everywhere(lambda _: {_HOUR: [12]}),
    "no history": _everywhere(lambda _: {name: [features.MISSING] for name in features.HISTORY}),
    "constant fare": _everywhere(lambda _: {features.LABEL: [10.0]}),
    "truncated month": _truncated,
    "labels shifted": _shifted,
    "training cut short": lambda splits: splits,
}
