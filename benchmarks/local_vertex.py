"""The taxi pipeline on the local Vertex AI, against TFX's LocalDagRunner and against a subprocess per task.

Every round runs the same request on the real trips in each way, one after the other, nothing cached:
the DAG from its trigger to the gate's decision, TFX's LocalDagRunner in a process of its own (imports
included), the compiled job on the warm local Vertex AI, and the same job with a subprocess for each task.
Ratios are medians of the rounds' ratios, so that a busy spell affects both sides. Last, the job runs again
with everything in the cache. The start of the local Vertex AI is not
counted, because it is used as a running server.
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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.taxi_pipeline.vertex_jobs import serving_cold, timed  # noqa: E402  # after the path
from local_gcp.airflow import AIRFLOW, login  # noqa: E402  # as above
from local_gcp.airflow_client import AirflowClient  # noqa: E402  # as above
from local_gcp.layout import Layout  # noqa: E402  # as above
from local_gcp.services import CLOUD  # noqa: E402  # as above
from local_gcp.stack import Stack  # noqa: E402  # as above

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.taxi_pipeline.vertex_jobs import TimedJob

DAG_ID: Final = "taxi_training"
_COMPILED: Final = "*/modules/*/compiled/*"
_PARAMETERS: Final = "*/runs/*/parameters.json"
CONF: Final = {"window_end": "2015-07-01", "promote": False}
BASELINE: Final = "LocalDagRunner"
WARM, COLD, CACHED, DAG = "local Vertex", "subprocess per task", "cached", "DAG"
AIMS: Final = {(WARM, BASELINE): 0.75, (WARM, COLD): 0.4, (DAG, BASELINE): 1.3}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="medians of so many (%(default)s)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-vertex-") as folder:
        layout = Layout(state=Path(folder, "cloud").resolve())
        stack = Stack(layout, declarations=(*CLOUD, *AIRFLOW))
        try:
            stack.up()
            bench = Bench.of(stack, layout)
            cached = bench.warm_up()
            rounds = [bench.round(Path(folder, str(number))) for number in range(options.rounds)]
            again = [timed(bench.url, cached) for _ in rounds]
        finally:
            stack.down()
    _print(rounds, again)
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Seconds of each way, and those of the tasks on the warm local Vertex AI."""

    seconds: Mapping[str, float]
    tasks: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A running stack."""

    layout: Layout
    environment: Mapping[str, str]
    airflow: AirflowClient
    url: str

    @classmethod
    def of(cls, stack: Stack, layout: Layout) -> Bench:
        """Reach a stack that is up."""
        urls = {service.name: service.urls[0] for service in stack.status() if service.urls}
        airflow = AirflowClient(urls["airflow-api"])
        airflow.authenticate(*login(layout))
        airflow.await_dag(DAG_ID, deadline_seconds=90)
        environment = {**os.environ, **stack.client_environment()}
        return cls(layout=layout, environment=environment, airflow=airflow, url=urls["vertex"])

    def warm_up(self) -> dict[str, Any]:
        """Run the DAG once to warm everything up; return its job, which is now in the cache."""
        self._dag(CONF)
        return self._newest_job()

    def round(self, folder: Path) -> Round:
        """Run in each way, in an order that favors none by a warmer disk."""
        dag = self._dag({**CONF, "force_retrain": True})
        job = self._newest_job()
        local = self._local_dag_runner(folder)
        warm = timed(self.url, job)
        cold = self._cold(job, folder)
        seconds = {BASELINE: local, WARM: warm.seconds, COLD: cold.seconds, DAG: dag}
        print("  ".join(f"{way} {spent:.1f} s" for way, spent in seconds.items()), flush=True)
        tasks = {name: end - start for name, (start, end) in warm.tasks.items()}
        return Round(seconds=seconds, tasks=tasks)

    def _dag(self, conf: Mapping[str, object]) -> float:
        """Run the DAG; return the seconds from its trigger to the gate's decision."""
        began = time.monotonic()
        decided = 0.0
        run_id = self.airflow.trigger(DAG_ID, conf)
        for task in self.airflow.watch(DAG_ID, run_id, deadline_seconds=1800, interval_seconds=0.2):
            if (task.task_id, task.state) == ("gate", "success"):
                decided = time.monotonic() - began
        if not decided:
            sys.exit(f"run {run_id} has no decision; see {self.airflow.url}")
        return decided

    def _newest_job(self) -> dict[str, Any]:
        """Return the newest compiled job with the parameters of the newest run."""
        job: dict[str, Any] = json.loads(self._newest(f"{_COMPILED}/pipeline.json").read_text())
        job["runtimeConfig"]["parameterValues"] = json.loads(self._newest(_PARAMETERS).read_text())
        return job

    def _newest(self, pattern: str) -> Path:
        return max(self.layout.gcs_root.glob(pattern), key=lambda path: path.stat().st_mtime)

    def _local_dag_runner(self, folder: Path) -> float:
        """Run the newest request in one process; return its seconds."""
        folder.mkdir()
        for pattern in (f"{_COMPILED}/request.json", _PARAMETERS):
            path = self._newest(pattern)
            (folder / path.name).write_text(path.read_text().replace("gs://", f"{self.layout.gcs_root}/"))
        began = time.monotonic()
        with (folder / "log").open("wb") as log:
            outcome = subprocess.run(
                [self.layout.pipeline_python, "-m", "benchmarks.taxi_pipeline.local_dag_runner",
                 folder],
                cwd=REPOSITORY,
                env={**self.environment, "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "-1"},
                check=False, stdout=log, stderr=log,
            )  # fmt: skip
        if outcome.returncode:
            sys.exit(f"LocalDagRunner failed\n{(folder / 'log').read_text()[-4000:]}")
        return time.monotonic() - began

    def _cold(self, job: Mapping[str, Any], folder: Path) -> TimedJob:
        with serving_cold(self.layout, self.environment, folder / "vertex") as server:
            return timed(server.url, job)


def _print(rounds: Sequence[Round], again: Sequence[TimedJob]) -> None:
    for way in rounds[0].seconds:
        seconds = statistics.median(each.seconds[way] for each in rounds)
        print(f"{way:24} {seconds:7.1f} s{'  (baseline)' if way == BASELINE else ''}")
    for task in rounds[0].tasks:
        print(f"    {task:20} {statistics.median(each.tasks[task] for each in rounds):7.1f} s")
    for (way, than), aim in AIMS.items():
        ratio = statistics.median(each.seconds[way] / each.seconds[than] for each in rounds)
        print(f"{way} / {than}: {ratio:.2f}; the aim is {aim} or less")
    print(f"{CACHED}: {statistics.median(each.seconds for each in again):.2f} s; the aim is 1 s or less")


if __name__ == "__main__":
    sys.exit(main())
