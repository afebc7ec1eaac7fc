"""What a person answered before a promotion, and how the deployed model answered the golden requests."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from taxi_ml.record.documents import opened
from taxi_ml.record.rollout import moment

if TYPE_CHECKING:
    from datetime import datetime

    from taxi_ml.gate.fields import Fields

_SCHEMA_VERSION: Final = 1


class Answer(StrEnum):
    """What became of a request for approval."""

    APPROVE = "approve"
    REJECT = "reject"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Who answered and why; `by` is empty for a time-out."""

    answer: Answer
    by: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds that a deployed model took for a request: the median and the 95th percentile."""

    p50: float
    p95: float
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCheck:
    """How far the deployed model's fares were from those of the evaluation, at most, relative to the fare."""

    rows: int
    largest_difference: float
    challenger: Latency | None
    champion: Latency | None


def parse_approval(content: bytes) -> Approval:
    """Read approval.json.

    Raises:
        DocumentError: naming what is missing, of the wrong type or of another version.

    """
    fields = opened(content, "approval.json", version=_SCHEMA_VERSION)
    return Approval(
        answer=fields.choice("answer", Answer),
        by=fields.text_or_none("by") or "",
        reason=fields.text_or_none("reason") or "",
        at=moment(fields.text("at")),
    )


def parse_golden_check(content: bytes) -> GoldenCheck:
    """Read golden_check.json.

    Raises:
        DocumentError: as above.

    """
    fields = opened(content, "golden_check.json", version=_SCHEMA_VERSION)
    ours, theirs = fields.read(
        "latency",
        lambda each: (each.read_or_none("challenger", _latency), each.read_or_none("champion", _latency)),
    )
    return GoldenCheck(
        rows=fields.count("rows"),
        largest_difference=fields.number("largest_difference"),
        challenger=ours,
        champion=theirs,
    )


def _latency(fields: Fields) -> Latency:
    return Latency(p50=fields.number("p50"), p95=fields.number("p95"), requests=fields.count("requests"))
