"""What the proof says while it goes on, and how it fails."""

from __future__ import annotations

import sys
import time
from typing import Final

_BEGAN: Final = time.monotonic()


class ProofError(Exception):
    """Something is not as docs/compose.md promises; the message says what."""


def say(line: str) -> None:
    """Write a line with the seconds since the start."""
    sys.stderr.write(f"{time.monotonic() - _BEGAN:6.0f} s  {line}\n")
    sys.stderr.flush()
