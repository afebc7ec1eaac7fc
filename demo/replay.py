"""Replay a year of the bundled trips on this machine: `python -m demo.replay`."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import requests

from demo.servers import check_success, start
from local_gcp.airflow_client import AirflowError
from local_gcp.errors import LocalCloudError
from local_gcp.stack import to_stderr
from taxi_ml.replay.document import summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local_gcp.airflow_client import AirflowClient

REPLAY_DAG: Final = "taxi_replay"
TRAINING_DAG: Final = "taxi_training"
_FIRST_END: Final = date(2015, 2, 1)
_LAST_END: Final = date(2016, 1, 1)
_REPLAY_SECONDS: Final = 7200


@dataclass(slots=True)
class TrainingProgress:
    """Prints each state change of the training runs that a replay triggers."""

    airflow: AirflowClient
    began: float
    _seen: dict[str, str] = field(default_factory=dict)

    def show(self) -> None:
        """Poll once and print what has changed."""
        for run in self.airflow.runs(TRAINING_DAG):
            run_id, state = str(run["dag_run_id"]), str(run["state"])
            if run_id.startswith("replay__") and self._seen.get(run_id) != state:
                self._seen[run_id] = state
                to_stderr(f"{time.monotonic() - self.began:6.0f} s  {run_id:<40} {state}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the stack, replay the months and print the result; return the exit status."""
    options = _parser().parse_args(arguments)
    conf: dict[str, Any] = {
        "first_end": options.first_end.isoformat(),
        "last_end": options.last_end.isoformat(),
        "workers": options.workers,
    }
    try:
        if options.policy:
            conf["policy"] = options.policy.read_text()
        _replay(conf)
    except (LocalCloudError, AirflowError, OSError, requests.RequestException) as error:
        to_stderr(f"replay: {error}\n`.venv/bin/python -m local_gcp logs` shows the servers' logs")
        return 1
    except KeyboardInterrupt:
        to_stderr("\nreplay: interrupted; the run continues in Airflow, `make down` stops everything")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo.replay", description=__doc__)
    for name, default in (("--first-end", _FIRST_END), ("--last-end", _LAST_END)):
        parser.add_argument(
            name,
            type=date.fromisoformat,
            default=default,
            metavar="YYYY-MM-DD",
            help=f"first day after the test month of a run; by default {default}",
        )
    parser.add_argument("--workers", type=int, default=2, help="months that train at the same time")
    parser.add_argument(
        "--policy", type=Path, metavar="TOML", help="a policy to compare with the shipped one"
    )
    return parser


def _replay(conf: dict[str, Any]) -> None:
    began = time.monotonic()
    servers = start([TRAINING_DAG, REPLAY_DAG])
    airflow = servers.airflow
    # A replay refuses to trigger runs of a DAG that is paused, which new ones are.
    airflow.call("PATCH", f"dags/{TRAINING_DAG}", {"is_paused": False})
    run_id = airflow.trigger(REPLAY_DAG, conf)
    to_stderr(f"all servers up after {time.monotonic() - began:.0f} s; run {run_id}")
    _watch(airflow, run_id, began)
    shown = airflow.xcom(REPLAY_DAG, run_id, "show")
    sys.stdout.write(summary(servers.reader.text(shown["document"])))
    page = servers.layout.gcs_root / str(shown["page"]).removeprefix("gs://")
    sys.stdout.write(f"\npage       {page}\nafter      {time.monotonic() - began:.0f} s\n")


def _watch(airflow: AirflowClient, run_id: str, began: float) -> None:
    progress = TrainingProgress(airflow, began)
    for task in airflow.watch(
        REPLAY_DAG, run_id, deadline_seconds=_REPLAY_SECONDS, interval_seconds=2.0, each=progress.show
    ):
        if task.task_id != "train":
            to_stderr(f"{time.monotonic() - began:6.0f} s  {task.task_id:<40} {task.state}")
    check_success(airflow, REPLAY_DAG, run_id)


if __name__ == "__main__":
    sys.exit(main())
