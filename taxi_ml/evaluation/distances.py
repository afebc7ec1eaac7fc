"""Distances between two distributions of a feature, each given as shares of its values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from taxi_ml.modules import profiles

if TYPE_CHECKING:
    from collections.abc import Mapping


def l_infinity(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Return the largest difference of a known category's share, which is TFDV's infinity norm.

    New categories are left out, since `new_share` counts them.
    """
    known = (one.keys() | other.keys()) - {profiles.NEW}
    return max((abs(one.get(value, 0.0) - other.get(value, 0.0)) for value in known), default=0.0)


def jensen_shannon(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Return the Jensen-Shannon divergence, 0 to 1 bits, as TFDV does for numbers, absence as a bin."""
    values = one.keys() | other.keys()
    middle = {value: (one.get(value, 0.0) + other.get(value, 0.0)) / 2 for value in values}
    return (_divergence(one, middle) + _divergence(other, middle)) / 2


def _divergence(shares: Mapping[str, float], middle: Mapping[str, float]) -> float:
    return sum(share * math.log2(share / middle[value]) for value, share in shares.items() if share > 0)
