"""The bounds that a schema's tags set where TensorFlow's schema has no field for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

MOST_ABSENT: Final = "most_absent"
"""The largest share of a split's rows in which a number or an area may be unknown."""
MOST_COMMON: Final = "most_common"
"""The largest share of a split's known values that may be one and the same."""
MEDIAN: Final = "median"
"""The range of the median of a split's known values."""

_FORMS: Final = {
    MOST_ABSENT: "a share, 0 to 1",
    MOST_COMMON: "a share, 0 to 1",
    MEDIAN: "a range, such as 2..30",
}
Range = tuple[float, float]


class SchemaError(ValueError):
    """A string is not a schema that the pipeline can use; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The bounds of one feature in each split; None means unbounded."""

    most_absent: float | None = None
    most_common: float | None = None
    median: Range | None = None


def bounds(feature: Any) -> Bounds:  # noqa: ANN401  # protobuf messages have no types
    """Read the tags of a feature; those without a colon are for people.

    Raises:
        SchemaError: for a name that does not exist, and a value that does not fit it.

    """
    found: dict[str, Any] = {}
    for tag in feature.annotation.tag:
        name, colon, value = tag.partition(":")
        if not colon:
            continue
        if name not in _FORMS:
            raise SchemaError(
                f"tag {tag!r} of feature {feature.name!r} is not known; use {', '.join(_FORMS)}, or no colon"
            )
        found[name] = _range(value) if name == MEDIAN else _share(value)
        if found[name] is None:
            raise SchemaError(f"tag {tag!r} of feature {feature.name!r} is not {_FORMS[name]}")
    return Bounds(**found)


def _share(text: str) -> float | None:
    try:
        share = float(text)
    except ValueError:
        return None
    return share if 0 <= share <= 1 else None


def _range(text: str) -> Range | None:
    try:
        low, high = map(float, text.split(".."))
    except ValueError:
        return None
    return (low, high) if -math.inf < low <= high < math.inf else None
