"""The replay's page in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from taxi_ml.replay.document import replay
from taxi_ml.replay.page import render
from taxi_ml.replay.policies import standard
from tests.taxi_ml.replays import fault, stored
from tests.taxi_ml.test_card_in_a_browser import MEASURE

if TYPE_CHECKING:
    from pathlib import Path

CHROMIUM = shutil.which("chromium")
WIDTHS = (360, 800, 1600)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_page_fits_narrow_and_wide_windows(tmp_path: Path) -> None:
    """Nothing is wider than the window, and no text of a drawing is cut."""
    months = stored([1.0] * 24, rows=60)
    found = replay(replace(months, faults=(fault(months, 2, usd=1e4),)), standard(), draws=1)
    content = html.escape(render(found))
    frames = [f'<iframe width="{width}" height="900" srcdoc="{content}"></iframe>' for width in WIDTHS]
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><meta charset=utf-8>{''.join(frames)}{MEASURE}")
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync --dump-dom"
    command = [str(CHROMIUM), *options.split(), f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    measured = json.loads(re.findall(r"<output>(.*?)</output>", dom)[0])

    assert all(wide <= width for (wide, *_), width in zip(measured, WIDTHS, strict=True))
    assert all(outside <= 1 for _, outside, _ in measured)
