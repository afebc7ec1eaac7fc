"""The progress and the error of the proof."""

from __future__ import annotations

import sys
import time
from typing import Final

_BEGAN: Final = time.monotonic()


class ProofError(Exception):
    """A promise of docs/compose.md does not hold; the message says which."""


def say(line: str) -> None:
    """Write a line with the seconds since the start."""
    sys.stderr.write(f"{time.monotonic() - _BEGAN:6.0f} s  {line}\n")
    sys.stderr.flush()
