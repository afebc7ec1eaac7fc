"""Promotions of the real DAG in a real Airflow, without a training before them."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_gcp.airflow import login
from local_gcp.airflow_client import AirflowClient, AirflowError, RunState
from local_gcp.layout import BUCKET
from taxi_ml.modules.features import INPUTS
from taxi_ml.promotion.golden import Golden, GoldenTrip
from tests.chaos.cloud import Cloud
from tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.local_stack import LocalStack

DAG_ID = "taxi_training"
SECONDS = 120.0
REPOSITORY = Path(__file__).parents[2]
_PROGRAM = Path(__file__).with_name("make_model.py")
_WINDOW_END = "2016-01-01"
# Everything that costs, before the promotion. The tasks that are taken later wait for the first look at the
# endpoint, and are marked when that is over.
_TAKEN_FOR_DONE = (
    "create_schema",
    "build_dataset",
    "check_rows",
    "export.train",
    "export.eval",
    "export.test",
    "export.averages",
)
_TAKEN_LATER = ("gate", "run_pipeline", "compile", "write_request")


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A run whose tasks up to the gate a person has marked a success, and the artifact that it promotes."""

    stage: Stage
    run_id: str
    artifact: str

    @property
    def state(self) -> str:
        """The state of the run."""
        return self.stage.airflow.run_state(DAG_ID, self.run_id)

    @property
    def states(self) -> dict[str, str | None]:
        """The states of the promotion's tasks, by their names without the group."""
        tasks = self.stage.airflow.task_instances(DAG_ID, self.run_id)
        return {
            task.task_id.removeprefix("promote."): task.state
            for task in tasks
            if task.task_id.startswith("promote.")
        }

    def state_of(self, task_id: str) -> str | None:
        """Return the state of any task."""
        tasks = self.stage.airflow.task_instances(DAG_ID, self.run_id)
        return next(task.state for task in tasks if task.task_id == task_id)

    def await_state(self, task: str, *states: str) -> None:
        """Wait until a task of the promotion is in one of the states."""
        wait_for(lambda: self.states[task] in states, SECONDS)

    def await_end(self) -> Staged:
        """Wait until the run has ended, and the model servers with it."""
        wait_for(lambda: self.state in frozenset(RunState), SECONDS)
        return self

    def mark_succeeded(self, *tasks: str) -> None:
        """Mark tasks a success, as a person does by a button."""
        for task in tasks:
            path = f"dags/{DAG_ID}/dagRuns/{self.run_id}/taskInstances/{task}"
            try:
                self.stage.airflow.call("PATCH", path, {"new_state": "success"})
            except AirflowError as error:
                # A task that had begun when the DAG was paused may have ended by itself.
                if "already in success state" not in str(error):
                    raise

    def answer_for_the_counts(self) -> None:
        """Write the trips of each split where check_rows would return them."""
        self._answer("check_rows", {"rows": {"train": 9000, "eval": 500, "test": 400}})

    def answer_for_the_gate(self) -> None:
        """Write the decision to promote where the gate would return it."""
        answer = {"verdict": "promote", "challenger": self.artifact, "golden": self._golden}
        self._answer("gate", answer)

    def _answer(self, task: str, value: Mapping[str, object]) -> None:
        path = f"dags/{DAG_ID}/dagRuns/{self.run_id}/taskInstances/{task}/xcomEntries"
        self.stage.airflow.call("POST", path, {"key": "return_value", "value": value, "map_index": -1})

    @property
    def _golden(self) -> str:
        return f"{self.artifact}/golden.json"

    def write_golden(self) -> None:
        """Put a trip and its fare, the hour, where the gate would keep them."""
        trip = GoldenTrip(instance=dict.fromkeys(INPUTS, 8), fare=8.0, why=("staged",))
        golden = Golden(model=self.artifact, trips=(trip,))
        self.stage.blob(self._golden).upload_from_string(golden.to_json())

    def mark_failed(self) -> None:
        """Mark the run failed, as a person does by a button."""
        self.stage.airflow.call("PATCH", f"dags/{DAG_ID}/dagRuns/{self.run_id}", {"state": "failed"})

    def clear_promotion(self) -> None:
        """Clear the group `promote`, as a person does by a button."""
        body = {
            "dry_run": False,
            "dag_run_id": self.run_id,
            "task_ids": [f"promote.{task}" for task in self.states],
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self.stage.airflow.call("POST", f"dags/{DAG_ID}/clearTaskInstances", body)


def make_model(stack: LocalStack, *options: str) -> dict[str, bytes]:
    """Return the files of a model, which takes TensorFlow some seconds."""
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "model"
        subprocess.run(
            [stack.layout.pipeline_python, _PROGRAM, saved, *options],
            env={**stack.environment, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2"},
            check=True,
            capture_output=True,
        )
        return {
            str(each.relative_to(saved)): each.read_bytes() for each in saved.rglob("*") if each.is_file()
        }


class Stage:
    """One Airflow and one local cloud, with models that were never trained."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.airflow = AirflowClient(stack.url("airflow-api", "rest"))
        self.airflow.authenticate(*login(stack.layout))
        self.airflow.await_dag(DAG_ID, deadline_seconds=120)
        self.cloud = Cloud(stack.url("vertex", "rest"), stack.url("gcs", "rest"), stack.layout.gcs_root)
        self._count = 0
        self._models: dict[tuple[str, ...], dict[str, bytes]] = {}

    @property
    def serving(self) -> dict[str, int]:
        """The traffic by artifact; a deployed model without traffic has 0."""
        (endpoint,) = self.cloud.endpoints()
        return {artifact: endpoint.split.get(each, 0) for each, artifact in endpoint.artifacts.items()}

    def begin(self, *options: str) -> Staged:
        """Start a run that promotes a new model; `--hangs` makes one that never answers."""
        artifact = self.save_model(*options)
        self.pause(paused=True)
        order = {"logical_date": None, "conf": {"window_end": _WINDOW_END}}
        run_id = str(self.airflow.call("POST", f"dags/{DAG_ID}/dagRuns", order)["dag_run_id"])
        (run,) = self.promote({run_id: artifact})
        return run

    def pause(self, *, paused: bool) -> None:
        """Pause or unpause the DAG, so that no run, or every run, begins tasks."""
        self.airflow.call("PATCH", f"dags/{DAG_ID}", {"is_paused": paused})

    def promote(self, artifacts: Mapping[str, str]) -> list[Staged]:
        """Let runs that wait in a paused DAG look at the endpoint, all of them, and then promote a model.

        The tasks in between that cost anything are marked a success.
        """
        runs = [Staged(stage=self, run_id=run_id, artifact=uri) for run_id, uri in artifacts.items()]
        for run in runs:
            run.answer_for_the_counts()
            run.mark_succeeded(*_TAKEN_FOR_DONE)
        self.pause(paused=False)
        wait_for(lambda: all(run.state_of("find_champion") == "success" for run in runs), SECONDS)
        self.pause(paused=True)
        for run in runs:
            run.write_golden()
            run.answer_for_the_gate()
            run.mark_succeeded(*_TAKEN_LATER)
        self.pause(paused=False)
        return runs

    def save_model(self, *options: str) -> str:
        """Put a model on Cloud Storage, into a folder of its own, which is returned."""
        self._count += 1
        artifact = f"gs://{BUCKET}/tests/promotion/{self._count}"
        if options not in self._models:
            self._models[options] = make_model(self.stack, *options)
        for name, content in self._models[options].items():
            self.blob(f"{artifact}/{name}").upload_from_string(content)
        return artifact

    def blob(self, uri: str) -> Any:  # noqa: ANN401  # google-cloud-storage has no types
        """Return an object of the local Cloud Storage."""
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        return self.stack.storage_client().bucket(bucket).blob(name)
