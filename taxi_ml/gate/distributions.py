"""Distributions in a report: of the trips against a model's, and of predictions about the true fares."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from taxi_ml.splits import Split

if TYPE_CHECKING:
    from taxi_ml.gate.fields import Fields


class Distance(StrEnum):
    """Measures of the distance between two distributions, by TFDV's names."""

    L_INFINITY = "linf"
    JENSEN_SHANNON = "jensen_shannon"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The distance of a feature in a split from a model's training rows.

    `distance` is 0 to 1: of shares for categories, in bits for numbers. `new_share` is the fraction of
    rows with a category that the model does not know, beyond that of its training.
    """

    split: Split
    feature: str
    measure: Distance
    distance: float | None
    new_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FareBand:
    """The test trips whose true fare is `low` or more and below `high`, with mean fares in USD.

    `high` is None in the last band, `champion` if no model serves; a mean that is not finite is None.
    """

    low: float
    high: float | None
    count: int
    paid: float
    challenger: float | None
    champion: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The distribution of predictions around the true fares.

    `residuals` and `champion_residuals` count the test trips by predicted minus true fare, between each two
    of `edges` in USD; the first and the last include everything beyond.
    """

    bands: tuple[FareBand, ...]
    edges: tuple[float, ...]
    residuals: tuple[float, ...]
    champion_residuals: tuple[float, ...] | None


def drift(fields: Fields) -> Drift:
    """Read a drift."""
    return Drift(
        split=fields.choice("split", Split),
        feature=fields.text("feature"),
        measure=fields.choice("measure", Distance),
        distance=fields.size_or_none("distance"),
        new_share=fields.number_or_none("new_share"),
    )


def fit(fields: Fields) -> Fit:
    """Read a fit."""
    return Fit(
        bands=fields.read_list("bands", _band),
        edges=fields.numbers("edges"),
        residuals=fields.numbers("residuals"),
        champion_residuals=fields.numbers_or_none("champion_residuals"),
    )


def _band(fields: Fields) -> FareBand:
    return FareBand(
        low=fields.number("low"),
        high=fields.number_or_none("high"),
        count=fields.count("count"),
        paid=fields.number("paid"),
        challenger=fields.number_or_none("challenger"),
        champion=fields.number_or_none("champion"),
    )
