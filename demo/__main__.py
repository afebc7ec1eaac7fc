"""Run the DAG for one month on this machine, show its progress and summarize the result."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import requests

from demo.progress import PipelineProgress
from demo.results import read_results
from demo.servers import check_success, start
from local_gcp.airflow_client import AirflowError, RunState
from local_gcp.errors import LocalCloudError
from local_gcp.stack import to_stderr
from taxi_ml.gate.kept import DecisionError
from taxi_ml.gate.report import ReportError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from demo.results import Results
    from local_gcp.airflow_client import AirflowClient

DAG_ID: Final = "taxi_training"
# The first window with enough of the 15,002 bundled trips in its training months and in its test month.
FIRST_WINDOW_END: Final = date(2015, 2, 1)
LAST_WINDOW_END: Final = date(2016, 1, 1)
_NOT_STARTED: Final = frozenset({None, "scheduled", "queued"})
_RUN_SECONDS: Final = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """A running stack, with the clients that the demo uses."""

    airflow: AirflowClient
    vertex_url: str

    def next_window_end(self) -> date:
        """Return the month after the latest successful run's, or the first one if there is none."""
        ends = [
            date.fromisoformat(run["conf"]["window_end"])
            for run in self.airflow.runs(DAG_ID)
            if run["state"] == RunState.SUCCESS and (run.get("conf") or {}).get("window_end")
        ]
        if not ends:
            return FIRST_WINDOW_END
        latest = max(ends)
        return date(latest.year + latest.month // 12, latest.month % 12 + 1, 1)

    def run(self, conf: Mapping[str, object]) -> str:
        """Trigger a run, print each state change of its tasks and of the pipeline's, and return its id.

        Raises:
            AirflowError: the run failed; the message has the failed tasks and the end of their logs.

        """
        run_id = self.airflow.trigger(DAG_ID, conf)
        to_stderr(f"run {run_id}: {self.run_url(run_id)}")
        began = time.monotonic()
        pipeline = PipelineProgress(self.vertex_url)
        for task in self.airflow.watch(DAG_ID, run_id, deadline_seconds=_RUN_SECONDS, each=pipeline.show):
            if task.state not in _NOT_STARTED:
                to_stderr(f"{time.monotonic() - began:6.0f} s  {task.task_id:<32} {task.state}")
        check_success(self.airflow, DAG_ID, run_id)
        return run_id

    def run_url(self, run_id: str) -> str:
        """Return the run's page in Airflow."""
        return f"{self.airflow.url}/dags/{DAG_ID}/runs/{quote(run_id)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the stack, run the next month and print the result; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument(
        "--window-end",
        type=date.fromisoformat,
        metavar="YYYY-MM-DD",
        help="first day after the test month; by default the month after the latest run's",
    )
    options = parser.parse_args(arguments)
    try:
        results = _demonstrate(options.window_end)
    except (LocalCloudError, AirflowError, ReportError, DecisionError, requests.RequestException) as error:
        to_stderr(f"demo: {error}\n`.venv/bin/python -m local_gcp logs` shows the servers' logs")
        return 1
    except KeyboardInterrupt:
        to_stderr("\ndemo: interrupted; the run continues in Airflow, `make down` stops everything")
        return 130
    sys.stdout.write(results.describe())
    to_stderr("make demo    test on the next month\nmake status  list the servers\nmake down    stop them")
    return 0


def _demonstrate(window_end: date | None) -> Results:
    began = time.monotonic()
    servers = start([DAG_ID])
    demo = Demo(airflow=servers.airflow, vertex_url=servers.reader.vertex_url)
    end = window_end or demo.next_window_end()
    if end > LAST_WINDOW_END:
        raise LocalCloudError(
            f"the bundled trips end before the test month that ends on {end}; start over with "
            "`.venv/bin/python -m local_gcp reset`, or run an earlier month again with "
            "`.venv/bin/python -m demo --window-end 2015-07-01`"
        )
    to_stderr(f"all servers up after {time.monotonic() - began:.0f} s; testing on the months before {end}")
    run_id = demo.run({"window_end": end.isoformat()})
    gate = demo.airflow.xcom(DAG_ID, run_id, "gate")
    return read_results(servers.reader, gate, airflow_url=demo.run_url(run_id))


if __name__ == "__main__":
    sys.exit(main())
