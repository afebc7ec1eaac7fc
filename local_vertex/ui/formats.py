"""Formats times, durations and values for the pages."""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

UNKNOWN = "\N{EN DASH}"
_MINUTE = 60.0
_HOUR = 3600.0
_TENTHS = 10.0


def time_of(field: Timestamp) -> datetime | None:
    """Return a Timestamp field as an aware time in UTC; None if it is not set."""
    return field.ToDatetime(tzinfo=UTC) if field.ByteSize() else None


def moment(at: datetime | None) -> str:
    """Return a time in UTC, to the second; a dash for None."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if at else UNKNOWN


def seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    """Return the seconds from one time to another; None if one is unknown."""
    return max((end - start).total_seconds(), 0.0) if start and end else None


def duration(seconds: float | None) -> str:
    """Return a duration: `4.2 s`, `38 s`, `3 min 07 s`, `2 h 05 min`; a dash for None."""
    if seconds is None:
        return UNKNOWN
    if seconds < _TENTHS:
        return f"{seconds:.1f} s"
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)} min {int(seconds % _MINUTE):02d} s"
    return f"{int(seconds // _HOUR)} h {int(seconds % _HOUR // _MINUTE):02d} min"


def value(content: Any) -> str:  # noqa: ANN401  # JSON
    """Return a parameter or property for reading: JSON in a string is indented, a whole number is one."""
    if isinstance(content, float) and content.is_integer():
        return str(int(content))
    if not isinstance(content, str):
        return json.dumps(content, indent=2, ensure_ascii=False)
    if content[:1] in ("{", "["):
        try:
            return json.dumps(json.loads(content), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            return content
    return content
