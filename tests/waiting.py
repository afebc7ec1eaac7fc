"""Wait for a condition, with a deadline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Return when the condition holds; fail after a deadline.

    The longer it waits, the less often it looks, but at least four times a second: many conditions are
    requests to the servers whose work is waited for, and answering would take the time from that work.
    """
    start = time.monotonic()
    while not condition():
        waited = time.monotonic() - start
        if waited > seconds:
            pytest.fail(f"not true within {seconds} s")
        time.sleep(min(0.01 + waited / 20, 0.25))
