"""The end of a run whose trips have anomalies that the gate would reject."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from taxi_ml.gate.policy import AnomalyRules
    from taxi_ml.gate.report import Anomaly

ALLOWED: Final = "; the reviewed schema allows "
"""The words between what was seen and what passes in an anomaly's description."""

_LOG: Final = logging.getLogger(__name__)


class BrokenTripsError(ValueError):
    """The trips have anomalies that the gate would reject; the message, one line, names each of them."""


def stop_if_broken(found: Iterable[Anomaly], rules: AnomalyRules) -> None:
    """Log all anomalies, and raise BrokenTripsError if any of them counts."""
    # By feature and kind, because orchestrators cut long messages.
    named: dict[tuple[str, str, str], list[str]] = {}
    for each in found:
        counts = rules.apply_to(each.split, each.kind)
        line = f"{each.split} {each.feature} {each.kind}: {each.description}"
        _LOG.info("%s: %s", "anomaly" if counts else "tolerated anomaly", line)
        if counts:
            seen, _, allowed = each.description.rstrip(".").partition(ALLOWED)
            named.setdefault((each.feature, each.kind, allowed), []).append(f"{each.split}: {seen}")
    if named:
        lines = (
            f"{feature} {kind} ({', '.join(seen)}{f', allowed {allowed}' if allowed else ''})"
            for (feature, kind, allowed), seen in named.items()
        )
        raise BrokenTripsError(
            f"{'; '.join(lines)}. Nothing was trained. Correct the trips or the reviewed schema "
            "(docs/schema.md), or override data_anomaly in the form of a new run"
        )
