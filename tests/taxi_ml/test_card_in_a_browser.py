"""The model card in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from taxi_ml.card import render
from taxi_ml.gate.decision import decide
from taxi_ml.gate.report import Anomaly
from taxi_ml.splits import Split
from tests.taxi_ml.reports import POLICY, a_report

if TYPE_CHECKING:
    from pathlib import Path

CHROMIUM = shutil.which("chromium")
WIDTHS = (360, 800, 1100, 1600)
# The page's width, and the most by which a label extends beyond its drawing, and a table beyond its box.
MEASURE = """
<script>
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, drawings = [...page.querySelectorAll("svg")];
    const outside = drawings.flatMap(drawing => {
      const box = drawing.getBoundingClientRect();
      return [...drawing.querySelectorAll("text")].map(text => text.getBoundingClientRect())
        .map(text => Math.max(box.left - text.left, text.right - box.right, text.bottom - box.bottom));
    });
    const hidden = [...page.querySelectorAll(".scroll")].map(box => box.scrollWidth - box.clientWidth);
    return [page.documentElement.scrollWidth, Math.max(...outside), Math.max(...hidden)];
  });
  document.body.innerHTML = "<output>" + JSON.stringify(found) + "</output>";
});
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_card_fits_narrow_and_wide_windows(tmp_path: Path) -> None:
    """Nothing is wider than the window, no text of a drawing is cut, and every column is in sight."""
    found = Anomaly(split=Split.TEST, feature="rawDistance", description="expected FLOAT, found STRING " * 4)
    report = replace(a_report(), anomalies=(found,), blessed=False)
    card = html.escape(render(report, decide(POLICY, report)))
    frames = [f'<iframe width="{width}" height="900" srcdoc="{card}"></iframe>' for width in WIDTHS]
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><meta charset=utf-8>{''.join(frames)}{MEASURE}")
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync --dump-dom"
    command = [str(CHROMIUM), *options.split(), f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    measured = json.loads(re.findall(r"<output>(.*?)</output>", dom)[0])

    assert all(wide <= width for (wide, *_), width in zip(measured, WIDTHS, strict=True))
    assert all(outside <= 1 for _, outside, _ in measured)
    assert all(hidden <= 0 for *_, hidden in measured)
