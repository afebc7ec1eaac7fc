"""Arithmetic of traffic splits, which map deployed models to percentages. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

WHOLE = 100


def busiest(split: Mapping[str, int]) -> str | None:
    """Return the deployed model with the most traffic, the smallest id among equals; None if none has any."""
    serving = {deployed: share for deployed, share in split.items() if share > 0}
    return min(serving, key=lambda deployed: (-serving[deployed], deployed)) if serving else None


def without(split: Mapping[str, int], gone: str) -> dict[str, int]:
    """Return the split with the share of ``gone`` given to the others in proportion.

    Empty if nothing else has traffic.
    """
    return _scaled({deployed: share for deployed, share in split.items() if deployed != gone}, WHOLE)


def restored(split: Mapping[str, int], gone: str, before: Mapping[str, int]) -> dict[str, int]:
    """Return the split after ``gone`` has given up its share, which it took from ``before``.

    ``before`` comes back exactly if the others' shares have not been changed since, or if nothing else
    has traffic now. A change by somebody else is kept: the share is given to the others in proportion.
    """
    share = split.get(gone, 0)
    if not share:
        return dict(split)
    earlier = without(before, gone)
    untouched = dict(split) == with_share(earlier, gone, share)
    return earlier if untouched else without(split, gone) or earlier


def with_share(split: Mapping[str, int], deployed: str, share: int) -> dict[str, int]:
    """Return the split with ``share`` for one deployed model and the rest, in proportion, for the others.

    It gets everything if nothing else has traffic.

    Raises:
        ValueError: if the share is not between 1 and 100.

    """
    if not 1 <= share <= WHOLE:
        raise ValueError(f"a share of traffic is 1 to 100 percent, got {share}")
    others = _scaled({other: part for other, part in split.items() if other != deployed}, WHOLE - share)
    return {**others, deployed: WHOLE - sum(others.values())}


def _scaled(split: Mapping[str, int], whole: int) -> dict[str, int]:
    """Return the same proportions with this sum: largest remainders round up. Zero shares are left out."""
    total = sum(split.values())
    if total == 0 or whole == 0:
        return {}
    exact = {deployed: share * whole / total for deployed, share in split.items()}
    scaled = {deployed: int(share) for deployed, share in exact.items()}
    missing = whole - sum(scaled.values())
    by_remainder = sorted(exact, key=lambda deployed: (scaled[deployed] - exact[deployed], deployed))
    for deployed in by_remainder[:missing]:
        scaled[deployed] += 1
    return {deployed: share for deployed, share in scaled.items() if share > 0}
