"""golden_check.json, the answers of a deployed model to the golden trips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from taxi_ml.promotion.golden import fields_of

if TYPE_CHECKING:
    from taxi_ml.gate.fields import Fields


class GoldenCheckError(ValueError):
    """A string is not golden_check.json of this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The median and the 95th percentile of some requests, in seconds, and how many there were."""

    p50: float
    p95: float
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCheckRecord:
    """How many golden trips a deployed model answered differently, by how much at most, and how fast.

    `largest_difference` is relative; None if an answer was not a number. `problem` is empty if none differed.
    A latency is None if no request was measured, and the champion's also if nothing served.
    """

    deployed_model: str
    rows: int
    differing: int
    largest_difference: float | None
    problem: str
    challenger: Latency | None
    champion: Latency | None

    @classmethod
    def parse(cls, content: str | bytes) -> Self:
        """Read golden_check.json.

        Raises:
            GoldenCheckError: for another version, and naming what is missing, unknown or of the wrong type.

        """
        fields = fields_of(content, "golden_check", GoldenCheckError)
        challenger, champion = fields.read("latency", _latencies)
        record = cls(
            deployed_model=fields.text("deployed_model"),
            rows=fields.count("rows"),
            differing=fields.count("differing"),
            largest_difference=fields.size_or_none("largest_difference"),
            problem=fields.text("problem"),
            challenger=challenger,
            champion=champion,
        )
        fields.close()
        return record


def _latencies(fields: Fields) -> tuple[Latency | None, Latency | None]:
    return fields.read_or_none("challenger", _latency), fields.read_or_none("champion", _latency)


def _latency(fields: Fields) -> Latency:
    return Latency(p50=fields.number("p50"), p95=fields.number("p95"), requests=fields.count("requests"))
