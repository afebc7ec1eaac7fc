"""Quotes as the server gives them, against the fares that were paid: errors by history, and intervals.

Each model is trained on a window of real trips and asked for two months that it has not seen: its own test
month, and the month after its window, in which it would serve. In the latter its table of pair averages is as
old as it would be. In its own test month the table knows these very trips, so its error there says nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.fare_models.exports import exported, in_pipeline_environment, months
from taxi_ml.sizing import LEAST_STEPS

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Export, train, ask, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--first", type=date.fromisoformat, default=date(2015, 3, 1), help="end of the first window"
    )
    parser.add_argument("--windows", type=int, default=9, help="how many consecutive months to train for")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-quotes-") as folder:
        ends = months(options.first, options.windows + 1)
        with exported(ends, Path(folder)) as exports:
            request = {
                "folders": [[str(data), str(after)] for data, after in pairwise(exports.folders.values())],
                "steps": exports.settings.train_steps or LEAST_STEPS,
                "options": {
                    "batch_size": exports.settings.batch_size,
                    "seed": exports.settings.seed,
                    "tuner_trials": 0,
                    "tuner_steps": 0,
                    "tuner_minutes": 0.0,
                },
            }
            asked = Path(folder, "asked")
            asked.mkdir()
            (asked / "request.json").write_text(json.dumps(request))
            in_pipeline_environment("benchmarks.fare_models.quotes", asked)
        print((asked / "quotes.txt").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
