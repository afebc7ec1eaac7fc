"""Labels and ids that fit Google Cloud's rules and stay the same for the same run. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ATTACH_LABEL = "attach"
ATTEMPT_LABEL = "attempt"
_DIGEST = 20


def run_key(*parts: str) -> str:
    """Return a label value, alias or id that stands for exactly these parts: a letter, then hexadecimals."""
    return "r" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_DIGEST]


def deployment_id(*parts: str) -> str:
    """Return the id of a deployed model that stands for exactly these parts: ten digits, the first not 0."""
    number = int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:8], "big")
    return str(10**9 + number % (9 * 10**9))


def with_attempt(labels: Mapping[str, str], *, attempt: int) -> dict[str, str]:
    """Return the labels of one attempt."""
    return {**labels, ATTEMPT_LABEL: str(attempt)}
