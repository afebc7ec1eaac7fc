"""The report over many rows: time and memory, and its intervals against the classic bootstrap.

The classic bootstrap draws single rows, as often as the report draws groups of them. Errors are those of two
lines through the real trips, and of heavy tails. The distance between the ends of the intervals is in shares
of the classic one's width; another seed moves them by 1.5 % at one standard deviation.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.fare_models.exports import in_pipeline_environment  # noqa: E402  # after the path
from benchmarks.taxi_pipeline import bootstrap  # noqa: E402  # as above
from demo.trips import find_source  # noqa: E402  # as above
from taxi_ml.evaluation import scores  # noqa: E402  # as above
from tests.pipeline.trips import write_trips  # noqa: E402  # as above

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taxi_ml.gate.metrics import Interval

SEED: Final = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each size, and print times, memory, ratios and the distance between the ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000], help="of train and test")
    rows = parser.parse_args(arguments).rows
    source = find_source(REPOSITORY / ".pipeline/bin/python")
    print(f"{'intervals of':14}{'rows':>10}{'classic: s':>12}{'groups: s':>11}{'ratio':>8}{'ends apart':>12}")
    for size in rows:
        _compare("real trips", bootstrap.on_real_trips(source, size))
        _compare("heavy tails", bootstrap.with_heavy_tails(size, seed=SEED))
    print(f"{'report over':14}{'rows':>10}{'s':>12}{'us a row':>11}{'GB':>8}")
    with tempfile.TemporaryDirectory(prefix="bench-report-") as name:
        write_trips(Path(name, "trips"))
        for size in rows:
            _report(Path(name), size)
    return 0


def _compare(name: str, predictions: scores.Predictions) -> None:
    began = time.perf_counter()
    found = scores.difference(predictions, seed=SEED)
    middle = time.perf_counter()
    classic = bootstrap.classic(predictions, seed=SEED + 1)
    ours, theirs = middle - began, time.perf_counter() - middle
    apart = max(
        abs(end - expected) / (interval[1] - interval[0])
        for metric, interval in classic.items()
        for end, expected in zip(_ends(getattr(found, metric)), interval, strict=True)
    )
    rows = len(predictions.fares)
    print(f"{name:14}{rows:10,}{theirs:12.2f}{ours:11.2f}{ours / theirs:8.3f}{apart:12.1%}", flush=True)


def _ends(interval: Interval) -> tuple[float, float]:
    return interval.low or 0.0, interval.high or 0.0


def _report(root: Path, rows: int) -> None:
    folder = root / f"{rows}"
    folder.mkdir()
    request = {"rows": rows, "trips": f"{root}/trips", "model": f"{root}/model"}
    (folder / "request.json").write_text(json.dumps(request))
    in_pipeline_environment("benchmarks.taxi_pipeline.reporting", folder)
    measured = json.loads((folder / "measured.json").read_text())
    seconds = measured["seconds"]
    per_row, gigabytes = seconds / rows * 1e6, measured["bytes"] / 1e9
    print(f"{'train and test':14}{rows:10,}{seconds:12.1f}{per_row:11.1f}{gigabytes:8.2f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
