"""Ways from exported trips to examples: in batches or by Beam, from CSV or Parquet; CPU time and peak memory.

The baseline is TFX's own CsvExampleGen on Beam's FnApiRunner. The trips are an export of the real ones and,
beyond these, the same rows resampled with noise and marked as such; all ways make the same examples. Each
executor runs in a process of its own; the time of the imports is left out, their memory, about 1 GB, is not.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.taxi_pipeline.memory import sampled  # noqa: E402  # after the path
from benchmarks.taxi_pipeline.queries import Queries  # noqa: E402  # as above
from benchmarks.taxi_pipeline.resampled_exports import resample  # noqa: E402  # as above
from local_gcp.layout import Layout  # noqa: E402  # as above
from local_gcp.services import CLOUD  # noqa: E402  # as above
from local_gcp.stack import Stack  # noqa: E402  # as above
from taxi_ml.settings import Settings  # noqa: E402  # as above

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WINDOW_END: Final = date(2015, 7, 1)
BASELINE: Final = "csv-by-tfx"
BY_BEAM: Final = (BASELINE, "parquet-by-beam")
IN_BATCHES: Final = ("csv", "parquet")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each size, and print ratios to the largest that the baseline made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000])
    parser.add_argument(
        "--beam-rows", type=int, default=1_000_000, help="Beam makes no more than this: it needs 2 kB a row"
    )
    options = parser.parse_args(arguments)
    if min(options.rows) > options.beam_rows:
        parser.error("give one of --rows that is not above --beam-rows, where the baseline can run")
    with tempfile.TemporaryDirectory(prefix="bench-formats-") as name:
        folder = Path(name).resolve()
        python = _export(folder)
        for rows in sorted(options.rows):
            resample(folder / "export", folder / "resampled", rows=rows)
            readers = [*(BY_BEAM if rows <= options.beam_rows else ()), *IN_BATCHES]
            costs = {reader: _measure(python, reader, folder, rows) for reader in readers}
            if BASELINE in costs:
                baseline = costs[BASELINE]
            _print(rows, costs, baseline)
            shutil.rmtree(folder / "resampled")
    return 0


class Cost(NamedTuple):
    """The most GB that a process used, and for a million rows: CPU seconds, GB read and GB written."""

    memory: float
    cpu: float
    read: float
    written: float


def _export(folder: Path) -> Path:
    """Export a window of the real trips as Parquet to `folder`/export; return the pipeline's interpreter."""
    layout = Layout(state=folder / "cloud")
    stack = Stack(layout, declarations=CLOUD, progress=lambda _: None)
    try:
        stack.up(("bigquery", "gcs"))
        environment = stack.client_environment()
        url = environment["BIGQUERY_EMULATOR_HOST"]
        settings = Settings.from_environment(environment).with_overrides(examples_format="parquet")
        queries, window = Queries(url, settings), settings.window(WINDOW_END)
        queries.build(window)
        queries.export(window)
    finally:
        stack.down()
    (exported,) = layout.gcs_root.glob("*/data/*")
    exported.rename(folder / "export")
    return layout.pipeline_python


def _measure(python: Path, reader: str, folder: Path, rows: int) -> Cost:
    """Run one executor over the resampled files, which hold about so many rows."""
    source = folder / "resampled" / reader.partition("-")[0]
    with tempfile.TemporaryDirectory(dir=folder) as target, (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            [python, "-m", "benchmarks.taxi_pipeline.example_gen", reader, source, target],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "-1"},
            stdout=subprocess.PIPE,
            stderr=log,
        )
        with sampled(child.pid) as memory:
            answer, _ = child.communicate()
        if child.returncode:
            sys.exit(f"the ExampleGen {reader} failed\n{(folder / 'log').read_text()[-4000:]}")
        began, ended, cpu = json.loads(answer.splitlines()[-1])
        millions = rows / 1e6
        return Cost(
            memory=memory.peak(began, ended) / 1e9,
            cpu=cpu / millions,
            read=_gigabytes(source) / millions,
            written=_gigabytes(target) / millions,
        )


def _gigabytes(folder: str | Path) -> float:
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e9


def _print(rows: int, costs: Mapping[str, Cost], baseline: Cost) -> None:
    print(f"{rows:,} trips: peak GB, and by the million CPU s, GB read, GB written (ratios to {BASELINE})")
    for reader, cost in costs.items():
        cells = (f"{value:7.2f} ({value / other:4.2f})" for value, other in zip(cost, baseline, strict=True))
        print(f"  {reader:16}", *cells, flush=True)


if __name__ == "__main__":
    sys.exit(main())
