"""Exports as Parquet against exports as CSV, the default: time and peak memory of export and ExampleGen.

The trips are the real ones and, beyond these, resampled with noise and marked as such. Both formats hold the
same rows of one window, on a fresh local cloud for each size, and become the same examples. The ExampleGen's
time is that of its executor, in a process of its own, without the imports.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.taxi_pipeline.memory import sampled  # noqa: E402  # as above
from benchmarks.taxi_pipeline.queries import Queries  # noqa: E402  # as above
from benchmarks.taxi_pipeline.resampled_trips import resample  # noqa: E402  # after the path
from local_gcp import state, trips  # noqa: E402  # as above
from local_gcp.layout import Layout  # noqa: E402  # as above
from local_gcp.services import CLOUD  # noqa: E402  # as above
from local_gcp.stack import Stack  # noqa: E402  # as above
from taxi_ml import naming  # noqa: E402  # as above
from taxi_ml.naming import ExamplesFormat  # noqa: E402  # as above
from taxi_ml.settings import Settings  # noqa: E402  # as above

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WINDOW_END: Final = date(2015, 7, 1)
BASELINE: Final = ExamplesFormat.CSV
_RUNS, _RUNS_TIMES_SIZE = 3, 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each size, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--times", type=int, nargs="+", default=[10, 50], help="how many times the real trips"
    )
    for times in parser.parse_args(arguments).times:
        with tempfile.TemporaryDirectory(prefix="bench-formats-") as folder:
            size = Size(folder=Path(folder).resolve(), times=times)
            _print(times, size.repeats, size.measure())
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one stage took, in seconds, and the most bytes that its processes used at once."""

    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Medians of one format, and the bytes of its files."""

    export: Stage
    example_gen: Stage
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One size of the trips, on a local cloud of its own."""

    folder: Path
    times: int

    @property
    def repeats(self) -> int:
        """How often each stage is measured: the largest sizes once."""
        return max(1, min(_RUNS, _RUNS_TIMES_SIZE // self.times))

    def measure(self) -> dict[ExamplesFormat, Cost]:
        """Export and read each format, by turns."""
        layout = Layout(state=self.folder / "cloud")
        stack = Stack(layout, declarations=CLOUD, progress=lambda _: None)
        try:
            stack.up(("bigquery", "gcs"))
            environment = stack.client_environment()
            self._load(layout, environment["BIGQUERY_EMULATOR_HOST"])
            exports = self._exports(layout, environment)
        finally:
            stack.down()
        return {
            each: Cost(
                export=exports[each],
                example_gen=_median([self._read(layout, each) for _ in range(self.repeats)]),
                files=sum(path.stat().st_size for path in self._data(layout, each).rglob(f"*.{each}")),
            )
            for each in ExamplesFormat
        }

    def _load(self, layout: Layout, url: str) -> None:
        many = self.folder / "trips.csv"
        resample(trips.find_source(layout.pipeline_python), many, times=self.times)
        trips.load(url, many, layout.bigquery)

    def _exports(self, layout: Layout, environment: Mapping[str, str]) -> dict[ExamplesFormat, Stage]:
        url = environment["BIGQUERY_EMULATOR_HOST"]
        settings = Settings.from_environment(environment)
        Queries(url, settings).build(settings.window(WINDOW_END))
        measured: dict[ExamplesFormat, list[Stage]] = {each: [] for each in ExamplesFormat}
        for _ in range(self.repeats):
            for each, stages in measured.items():
                chosen = settings.with_overrides(
                    examples_format=each.value, bucket=f"{settings.bucket}/{each}"
                )
                stages.append(_exported(layout, Queries(url, chosen), chosen))
        return {each: _median(stages) for each, stages in measured.items()}

    def _data(self, layout: Layout, examples_format: ExamplesFormat) -> Path:
        """Return the folder of the window's files."""
        (folder,) = layout.gcs_root.glob(f"*/{examples_format}/data/*")
        return folder

    def _read(self, layout: Layout, examples_format: ExamplesFormat) -> Stage:
        """Run the ExampleGen's executor over the files."""
        command = [
            str(layout.pipeline_python), "-m", "benchmarks.taxi_pipeline.example_gen", examples_format,
            str(self._data(layout, examples_format)),
        ]  # fmt: skip
        with tempfile.TemporaryDirectory(dir=self.folder) as target, (self.folder / "log").open("wb") as log:
            child = subprocess.Popen(
                [*command, target],
                cwd=REPOSITORY,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "-1"},
                stdout=subprocess.PIPE,
                stderr=log,
            )
            with sampled(child.pid) as memory:
                answer, _ = child.communicate()
        if child.returncode:
            sys.exit(
                f"the ExampleGen of {examples_format} failed\n{(self.folder / 'log').read_text()[-4000:]}"
            )
        began, ended = json.loads(answer.splitlines()[-1])
        return Stage(seconds=ended - began, bytes=memory.peak(began, ended))


def _exported(layout: Layout, queries: Queries, settings: Settings) -> Stage:
    with sampled(state.read(layout.stack_file).services["bigquery"].pid) as memory:
        began = time.time()
        queries.export(settings.window(WINDOW_END))
        ended = time.time()
    return Stage(seconds=ended - began, bytes=memory.peak(began, ended))


def _median(stages: Sequence[Stage]) -> Stage:
    return Stage(
        seconds=statistics.median(stage.seconds for stage in stages),
        bytes=int(statistics.median(stage.bytes for stage in stages)),
    )


def _print(times: int, repeats: int, costs: Mapping[ExamplesFormat, Cost]) -> None:
    baseline = costs[BASELINE]
    print(f"{times} x the real trips, {len(naming.Split)} splits, medians of {repeats}, ratios to {BASELINE}")
    for name, cost in costs.items():
        cells = [f"  {name:8}"]
        for stage, named, other in (
            ("export", cost.export, baseline.export),
            ("ExampleGen", cost.example_gen, baseline.example_gen),
        ):
            cells.append(
                f"{stage} {named.seconds:7.2f} s ({named.seconds / other.seconds:4.2f}) "
                f"{named.bytes / 1e9:5.2f} GB ({named.bytes / other.bytes:4.2f})"
            )
        cells.append(f"files {cost.files / 1e6:6.1f} MB ({cost.files / baseline.files:4.2f})")
        print("   ".join(cells), flush=True)


if __name__ == "__main__":
    sys.exit(main())
