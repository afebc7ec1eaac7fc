"""Time and peak memory of every stage with 10 and 50 times the real trips, against the real ones.

The trips beyond the real ones are resampled with noise and marked as such. Stages run one at a time, each
component in a process of its own, imports included, on a fresh local cloud for each size. A stage whose time
grows with the rows at most has a ratio of 10 and 50 or less.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.taxi_pipeline.memory import sampled  # noqa: E402  # as above
from benchmarks.taxi_pipeline.queries import Queries  # noqa: E402  # as above
from benchmarks.taxi_pipeline.resampled_trips import resample  # noqa: E402  # after the path
from benchmarks.taxi_pipeline.vertex_jobs import serving_cold, timed  # noqa: E402  # as above
from local_gcp import state, trips  # noqa: E402  # as above
from local_gcp.layout import Layout  # noqa: E402  # as above
from local_gcp.services import CLOUD  # noqa: E402  # as above
from local_gcp.stack import Stack  # noqa: E402  # as above
from taxi_ml import naming  # noqa: E402  # as above
from taxi_ml.pipeline.modules_check import read_modules  # noqa: E402  # as above
from taxi_ml.pipeline.parameters import RunParameters  # noqa: E402  # as above
from taxi_ml.pipeline.request import CompileRequest  # noqa: E402  # as above
from taxi_ml.settings import Settings  # noqa: E402  # as above
from taxi_ml.storage import Storage  # noqa: E402  # as above

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WINDOW_END: Final = date(2015, 7, 1)
MODULES: Final = REPOSITORY / "taxi_ml" / "modules"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each size, and print seconds, gigabytes and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10, 50], help="the first is the baseline")
    options = parser.parse_args(arguments)
    measured = {}
    for times in options.times:
        with tempfile.TemporaryDirectory(prefix="bench-growth-") as folder:
            measured[times] = Size(folder=Path(folder).resolve(), times=times).measure()
        print(f"{times} x: {sum(stage.seconds for stage in measured[times].values()):.0f} s", flush=True)
    _print(measured)
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one stage took, in seconds, and the most bytes that its processes used at once."""

    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One size of the trips, on a local cloud of its own."""

    folder: Path
    times: int

    def measure(self) -> dict[str, Stage]:
        """Run every stage; return them by name in their order."""
        layout = Layout(state=self.folder / "cloud")
        stack = Stack(layout, declarations=CLOUD, progress=lambda _: None)
        try:
            stack.up()
            environment = stack.client_environment()
            settings = Settings.from_environment(environment)
            self._load(layout, environment["BIGQUERY_EMULATOR_HOST"])
            queries = _queries(layout, settings, environment["BIGQUERY_EMULATOR_HOST"])
            os.environ.update(environment)
            job = _compiled(settings)
            stack.down(("bigquery", "vertex"))
            return queries | self._components(layout, job)
        finally:
            stack.down()

    def _load(self, layout: Layout, url: str) -> None:
        many = self.folder / "trips.csv"
        resample(trips.find_source(layout.pipeline_python), many, times=self.times)
        trips.load(url, many, layout.bigquery)

    def _components(self, layout: Layout, job: Mapping[str, Any]) -> dict[str, Stage]:
        """Run the pipeline, one task at a time."""
        folder = self.folder / "vertex"
        with serving_cold(layout, os.environ, folder, cores=1) as server, sampled(server.pid) as memory:
            ran = timed(server.url, job)
        return {
            task: Stage(seconds=end - start, bytes=memory.peak(start, end))
            for task, (start, end) in sorted(ran.tasks.items(), key=lambda each: each[1])
        }


def _queries(layout: Layout, settings: Settings, url: str) -> dict[str, Stage]:
    """Build and export the window as the DAG does."""
    queries, window = Queries(url, settings), settings.window(WINDOW_END)
    server = state.read(layout.stack_file).services["bigquery"].pid
    return {
        "build dataset": _staged(server, lambda: queries.build(window)),
        "export": _staged(server, lambda: queries.export(window)),
    }


def _staged(pid: int, work: Callable[[], None]) -> Stage:
    with sampled(pid) as memory:
        began = time.time()
        work()
        ended = time.time()
    return Stage(seconds=ended - began, bytes=memory.peak(began, ended))


def _compiled(settings: Settings) -> dict[str, Any]:
    """Upload the modules and compile the pipeline as the DAG does."""
    modules = read_modules(MODULES, MODULES.parent / "schema.pbtxt")
    request = CompileRequest.of(settings, modules_digest=modules.digest, compares=False, enable_cache=False)
    parameters = RunParameters.of(settings, settings.window(WINDOW_END), champion=None, cache_day=None)
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
    job = dict(json.loads(storage.read(out)))
    job["runtimeConfig"]["parameterValues"] = parameters.values(request)
    return job


def _print(measured: Mapping[int, Mapping[str, Stage]]) -> None:
    baseline, *larger = measured
    print(f"{'':20}{baseline:>5} x: s    GB" + "".join(f"{times:>8} x: s  ratio    GB" for times in larger))
    for name, real in measured[baseline].items():
        cells = [f"{name:20}{real.seconds:10.2f}{real.bytes / 1e9:6.2f}"]
        for times in larger:
            stage = measured[times][name]
            ratio = stage.seconds / real.seconds
            cells.append(f"{stage.seconds:13.2f}{ratio:7.1f}{stage.bytes / 1e9:6.2f}")
        print("".join(cells))


if __name__ == "__main__":
    sys.exit(main())
