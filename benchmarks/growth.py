"""CPU seconds and peak memory of every component, with more trips than the real ones, against these.

The trips are an export of the real ones and, beyond these, the same rows resampled with noise and marked as
such. By default they are sampled as in a run, by the caps of the settings.
Each component runs alone, in a process of its own, imports included. The model that the real trips give first
is the champion of every size, so that Evaluator and Report compare two. A component that is at most linear in
the rows has no ratio above that of the rows.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import astuple, dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.taxi_pipeline.memory import sampled as use_of  # noqa: E402  # after the path
from benchmarks.taxi_pipeline.queries import Queries  # noqa: E402  # as above
from benchmarks.taxi_pipeline.resampled_exports import resample  # noqa: E402  # as above
from benchmarks.taxi_pipeline.vertex_jobs import serving_cold, timed  # noqa: E402  # as above
from local_gcp.layout import BUCKET, Layout  # noqa: E402  # as above
from local_gcp.services import CLOUD  # noqa: E402  # as above
from local_gcp.stack import Stack  # noqa: E402  # as above
from local_vertex import gcs_objects  # noqa: E402  # as above
from taxi_ml import naming, sizing  # noqa: E402  # as above
from taxi_ml.gate.champion import Champion  # noqa: E402  # as above
from taxi_ml.pipeline.modules_check import read_modules  # noqa: E402  # as above
from taxi_ml.pipeline.parameters import RunParameters  # noqa: E402  # as above
from taxi_ml.pipeline.request import CompileRequest  # noqa: E402  # as above
from taxi_ml.settings import Settings  # noqa: E402  # as above
from taxi_ml.splits import ExamplesFormat, Split  # noqa: E402  # after the path
from taxi_ml.storage import Storage  # noqa: E402  # as above

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from taxi_ml.resources import Component
    from taxi_ml.sql.counts import SplitCounts

# All months in which the bundled trips are dense; a sixth of them are test trips, so that each split grows
# beyond its cap.
WINDOW: Final = {"train_months": 30, "test_months": 6}
WINDOW_END: Final = date(2016, 1, 1)
MODULES: Final = REPOSITORY / "taxi_ml" / "modules"
TWENTY_MILLION: Final = 20_000_000
MEMORY_AIM: Final = 12e9


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each size, and print the costs, their ratios to the smallest size and the slopes."""
    options = _options(arguments)
    capped = [*options.rows, *([TWENTY_MILLION] if options.twenty_million else [])]
    measured: list[Size] = []
    with tempfile.TemporaryDirectory(prefix="bench-growth-") as folder:
        bench = Bench(folder=Path(folder).resolve())
        try:
            bench.start()
            for rows in sorted(capped):
                measured.append(bench.measure(rows, bench.settings))
                _print_size(measured[0], measured[-1])
            for rows in sorted(options.uncapped):
                uncapped = bench.settings.with_overrides(max_train_rows=0, max_test_rows=0)
                measured.append(bench.measure(rows, uncapped))
                _print_size(measured[0], measured[-1])
        finally:
            bench.stack.down()
    _print_slopes(sorted(measured, key=lambda size: size.used), bench.settings)
    return _print_verdict(measured[: len(capped)])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    sizes: dict[str, Any] = {"type": int, "nargs": "+", "metavar": "ROWS"}
    parser.add_argument(
        "--rows",
        **sizes,
        default=[15_000, 500_000, 5_000_000],
        help="trips of the window; the smallest is the baseline (%(default)s)",
    )
    parser.add_argument("--twenty-million", action="store_true", help="20 million trips as well")
    parser.add_argument(
        "--uncapped",
        **sizes,
        default=[],
        help="these sizes as well, without a sample, for the slopes",
    )
    return parser.parse_args(arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of one component: seconds, seconds of CPU, and the peak memory of its process in bytes."""

    seconds: float
    cpu: float
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The measurements with `rows` trips, of which those `exported` were used."""

    rows: int
    exported: SplitCounts
    steps: int
    costs: Mapping[str, Cost]

    @property
    def used(self) -> int:
        """The number of trips that were used."""
        return sum(astuple(self.exported))


class Bench:
    """The pipeline on a local cloud, run by a local Vertex AI that starts a process for each task."""

    def __init__(self, *, folder: Path) -> None:
        self._folder = folder
        self._layout = Layout(state=folder / "cloud")
        self.stack = Stack(self._layout, declarations=CLOUD, progress=lambda _: None)
        self._champion: Champion | None = None

    def start(self) -> None:
        """Export the real trips, and stop everything except Cloud Storage."""
        self.stack.up()
        environment = self.stack.client_environment()
        os.environ.update(environment)
        self.settings = Settings.from_environment(environment).with_overrides(**WINDOW)
        self._bucket = self._layout.gcs_root / BUCKET
        self._data = self._bucket / "data" / self.settings.window(WINDOW_END).id
        url = environment["BIGQUERY_EMULATOR_HOST"]
        queries = Queries(url, self.settings.with_overrides(examples_format="parquet"))
        queries.build(self.settings.window(WINDOW_END))
        queries.export(self.settings.window(WINDOW_END))
        self.stack.down(("bigquery", "vertex"))
        self._data.rename(self._folder / "export")

    def measure(self, rows: int, settings: Settings) -> Size:
        """Run the pipeline over `rows` trips, sampled by the caps of the settings."""
        exported = self._export(rows, settings)
        steps = sizing.train_steps(exported.train, settings.batch_size)
        if self._champion is None:
            self._run(settings, steps)
            self._champion = self._crown()
        return Size(rows=rows, exported=exported, steps=steps, costs=self._run(settings, steps))

    def _export(self, rows: int, settings: Settings) -> SplitCounts:
        """Write the files to BigQuery's place for them."""
        shutil.rmtree(self._data, ignore_errors=True)
        target = self._folder / "resampled"
        exported = resample(
            self._folder / "export",
            target,
            rows=rows,
            sample=partial(sizing.sampled, settings),
            formats=[ExamplesFormat(settings.examples_format)],
        )
        (target / settings.examples_format).rename(self._data)
        gcs_objects.adopt(self._layout.gcs_root, self._data)
        return exported

    def _crown(self) -> Champion:
        """Keep the model that was pushed, out of the way of later ones."""
        (model,) = self._bucket.glob("serving/*/*")
        model.rename(self._bucket / "champion")
        return Champion(
            name="projects/1/locations/us-central1/models/1@1", uri=f"{self.settings.bucket}/champion"
        )

    def _run(self, settings: Settings, steps: int) -> dict[str, Cost]:
        """Run every task alone; return their costs, in order."""
        shutil.rmtree(self._bucket / "pipeline_root", ignore_errors=True)
        job = _compiled(settings.with_overrides(train_steps=steps), self._champion)
        with (
            tempfile.TemporaryDirectory(dir=self._folder) as state,
            serving_cold(self._layout, os.environ, Path(state), cores=1) as server,
            use_of(server.pid, with_root=False) as used,
        ):
            ran = timed(server.url, job)
        return {
            task: Cost(seconds=end - start, cpu=used.cpu(start, end), bytes=used.peak(start, end))
            for task, (start, end) in sorted(ran.tasks.items(), key=lambda each: each[1])
            if task != "Champion"
        }


def _compiled(settings: Settings, champion: Champion | None) -> dict[str, Any]:
    """Upload the modules and compile the pipeline as the DAG does."""
    modules = read_modules(MODULES, MODULES.parent / "schema.pbtxt")
    request = CompileRequest.of(
        settings, modules_digest=modules.digest, compares=champion is not None, enable_cache=False
    )
    parameters = RunParameters.of(settings, settings.window(WINDOW_END), champion=champion, cache_day=None)
    storage = Storage()
    for name, content in modules.files.items():
        storage.write(f"{request.modules_uri}/{name}", content)
    folder = naming.compile_uri(settings, modules.digest, request.digest)
    storage.write(f"{folder}/request.json", request.to_json().encode())
    out = f"{folder}/pipeline.json"
    subprocess.run(
        [REPOSITORY / ".pipeline/bin/python", "-m", "taxi_ml.pipeline.compile",
         "--request", f"{folder}/request.json", "--out", out],
        cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, check=True, capture_output=True,
    )  # fmt: skip
    job: dict[str, Any] = json.loads(storage.read(out))
    job["runtimeConfig"]["parameterValues"] = parameters.values(request)
    return job


def _print_size(baseline: Size, size: Size) -> None:
    """Print the costs of a size, and the ratios of its CPU seconds, as soon as it is measured."""
    counts = ", ".join(f"{split} {getattr(size.exported, split):,}" for split in Split)
    print(f"\n{size.rows:,} trips: {counts} are used, {size.steps:,} steps; {baseline.rows:,} trips are 1")
    print(f"{'rows':18}{size.used / baseline.used:16.1f}\n{'':18}{'CPU s':>9}{'ratio':>7}{'GB':>7}{'s':>9}")
    for name, cost in size.costs.items():
        ratio = cost.cpu / baseline.costs[name].cpu
        print(f"{name:18}{cost.cpu:9.1f}{ratio:7.1f}{cost.bytes / 1e9:7.2f}{cost.seconds:9.1f}", flush=True)


def _print_slopes(sizes: Sequence[Size], settings: Settings) -> None:
    """Print each component's cost of one more row from size to size, which is constant if it is linear."""
    # Two samples of the same cap differ only by chance.
    steps = [step for step in itertools.pairwise(sizes) if 1.1 * step[0].used < step[1].used]
    print(
        "\na row more: CPU µs, bytes" + "".join(f"{more.used:>14,} rows" for _, more in steps) + "  planned"
    )
    for component, growth in sizing.growth(settings).items():
        slopes = [_slope(component, growth.reads, *step) for step in steps]
        slopes.append((1e6 * growth.row_seconds, growth.row_bytes))
        print(f"{component:18}" + "".join(f"{cpu:12.1f}{memory:8.0f}" for cpu, memory in slopes))


def _slope(component: Component, reads: Collection[Split], few: Size, many: Size) -> tuple[float, float]:
    """Return the CPU microseconds and the bytes for each row of the splits that count, or of all."""
    rows = sum(getattr(many.exported, split) - getattr(few.exported, split) for split in reads or Split)
    before, after = (_cost(size, component) for size in (few, many))
    return 1e6 * (after.cpu - before.cpu) / rows, (after.bytes - before.bytes) / rows


def _cost(size: Size, component: Component) -> Cost:
    names = {component, *(f"{name.capitalize()}{component}" for name in ExamplesFormat)}
    (name,) = names & size.costs.keys()
    return size.costs[name]


def _print_verdict(capped: Sequence[Size]) -> int:
    """Print whether every component of the sampled sizes fits a small machine."""
    peaks = [(cost.bytes, name, size.rows) for size in capped for name, cost in size.costs.items()]
    peak, name, rows = max(peaks)
    print(f"\nby the caps at most {peak / 1e9:.2f} GB: {name}, {rows:,} trips; the aim is 12 GB or less")
    return int(peak > MEMORY_AIM)


if __name__ == "__main__":
    sys.exit(main())
