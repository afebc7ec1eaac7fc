"""Tests of the folder that a local cloud keeps its state in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local_gcp import state
from local_gcp.errors import StateError

if TYPE_CHECKING:
    from pathlib import Path


def test_full_disk(tmp_path: Path) -> None:
    """Too little room is an error with the numbers, before anything is started."""
    with pytest.raises(StateError, match=r"is full: \d+ MB free, 1000000000 MB needed; free some space"):
        state.require_space(tmp_path, megabytes=10**9)
