"""Examples per second that reach the trainer, against the settings of TFX's notebooks.

The notebooks read one file after the other in batches of 20 and prefetch nothing. The product keeps up to
100,000 rows in memory, and shuffles more through files. All of them read the same transformed trips
of one window in the same process, in turn; the result is the median of three turns.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.fare_models.exports import exported, in_pipeline_environment

WINDOW_END = date(2015, 7, 1)


def main() -> int:
    """Export, transform, measure, and print rates and ratios."""
    with tempfile.TemporaryDirectory(prefix="bench-input-") as name:
        with exported([WINDOW_END], Path(name)) as exports:
            (data,) = exports.folders.values()
            folder = Path(name, "feed")
            folder.mkdir()
            request = {"data": str(data), "batch_size": exports.settings.batch_size}
            (folder / "request.json").write_text(json.dumps(request))
            in_pipeline_environment("benchmarks.fare_models.feed", folder)
        found = json.loads((folder / "rates.json").read_text())
    rates = {way: statistics.median(turns) for way, turns in found.items()}
    for way, rate in rates.items():
        print(f"{way:10} {rate:12,.0f} examples/s")
    print(f"product / notebook  {rates['product'] / rates['notebook']:.1f}")
    print(f"files / trainer     {rates['files'] / rates['trainer']:.1f}  (rows that do not fit in memory)")
    print(f"product / trainer   {rates['product'] / rates['trainer']:.1f}  (above 1 the trainer never waits)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
