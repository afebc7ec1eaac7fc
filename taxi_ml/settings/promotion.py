"""How a promoted model gets the traffic, what stops it on the way, and what stays deployed afterwards."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from taxi_ml.rules import Rule, between, matches

AT_ONCE: Final = "100"
"""The roll-out that gives a model all traffic in one step."""

_TIME: Final = r"[0-9]{1,6}(?:\.[0-9]{1,3})?[smhd]"
_STEPS: Final = re.compile(rf"(?:[1-9][0-9]?:{_TIME}\s+)*100")


class WithoutMetrics(StrEnum):
    """What a step of a roll-out does if it has waited its longest for metrics, and there are too few."""

    ROLL_BACK = "roll_back"
    WAIT = "wait"
    CONTINUE = "continue"


def _is_rollout(text: str) -> bool:
    percents = [int(percent) for percent in re.findall(r"([0-9]+):", text)]
    return _STEPS.fullmatch(text) is not None and percents == sorted(set(percents))


_ROLLOUT: Final = Rule(
    _is_rollout,
    "write steps <percent>:<time> that rise, then 100, as in 10:15m 50:15m 100; a time is in s, m, h or d",
)
_DURATION: Final = matches(_TIME, "write a time in s, m, h or d, such as 15m")


@dataclass(frozen=True, kw_only=True)
class PromotionSettings:
    """The steps of a roll-out, its guards, and the version that a promotion replaces."""

    __slots__ = ()

    rollout: Annotated[str, _ROLLOUT] = AT_ONCE
    rollout_max_error_percent: Annotated[float, between(0, 100, "percent of the requests of a step")] = 1.0
    rollout_max_latency_ratio: Annotated[
        float, between(0.1, 1000, "times the champion's 95th percentile at the same time")
    ] = 1.5
    rollout_min_requests: Annotated[int, between(0, 10**9, "requests; 0 needs none")] = 100
    """The requests that the new model must have answered in a step before the step may end."""
    rollout_longest_wait: Annotated[str, _DURATION] = "6h"
    """The time after a step's own within which those requests, and their metrics, must have come."""
    rollout_without_metrics: Annotated[
        str, matches("|".join(WithoutMetrics), f"choose one of {', '.join(WithoutMetrics)}")
    ] = WithoutMetrics.ROLL_BACK.value
    rollout_metrics_delay: Annotated[str, _DURATION] = "5m"
    """The age that metrics have before they are complete; Google's are sampled each minute, and come late."""
    keep_previous: Annotated[int, between(0, 1, "versions to keep deployed without traffic")] = 0
