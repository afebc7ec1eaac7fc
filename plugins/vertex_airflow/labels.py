"""Labels and ids that fit Google Cloud's rules and are always the same for the same run. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

ATTACH_LABEL = "attach"
ATTEMPT_LABEL = "attempt"
MAX_JOB_ID: Final = 127
"""Vertex AI accepts less than 128 characters: https://cloud.google.com/vertex-ai/docs/reference/rest/v1."""

_DIGEST = 20
_JOB_ID_DIGEST = 10


def run_key(*parts: str) -> str:
    """Return a label value, alias or id that stands for exactly these parts: a letter, then hex digits."""
    return "r" + _digest(*parts)[:_DIGEST]


def job_id(dag_id: str, run_id: str, attempt: int = 0) -> str:
    """Return the id of the PipelineJob of one attempt of a DAG run, which matches ``[a-z][-a-z0-9]{0,126}``.

    It opens with as much of the two ids as a person can read, and ends with a digest of all three arguments:
    the same ones always give the same id, and others another one.
    """
    digest = _digest(dag_id, run_id, str(attempt))[:_JOB_ID_DIGEST]
    words = re.sub(r"[^a-z0-9]+", "-", f"{dag_id}-{run_id}".lower()).strip("-")
    if not words[:1].isalpha():
        words = f"run-{words}".strip("-")
    room = MAX_JOB_ID - _JOB_ID_DIGEST - 1
    return f"{words[:room].strip('-')}-{digest}"


def deployment_id(*parts: str) -> str:
    """Return the id of a deployed model that stands for exactly these parts: ten digits, the first not 0."""
    number = int(_digest(*parts)[:16], 16)
    return str(10**9 + number % (9 * 10**9))


def with_attempt(labels: Mapping[str, str], *, attempt: int) -> dict[str, str]:
    """Return the labels of one attempt."""
    return {**labels, ATTEMPT_LABEL: str(attempt)}


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
