"""Actions of a person on a task in a real Airflow, and their effect on its job on Vertex AI."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from local_gcp.airflow import login
from local_gcp.airflow_client import AirflowClient, RunState
from tests.chaos.__main__ import SMALL
from tests.chaos.cloud import Cloud
from tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_gcp.airflow_client import TaskInstance
    from tests.chaos.cloud import Job
    from tests.local_stack import LocalStack

DAG_ID = "taxi_training"
SECONDS = 600.0

pytestmark = [pytest.mark.e2e, pytest.mark.pipeline, pytest.mark.timeout(2400)]


class Watched:
    """One run of the DAG, and the jobs that it has on Vertex AI."""

    def __init__(self, stack: LocalStack) -> None:
        self.airflow = AirflowClient(stack.url("airflow-api", "rest"))
        self.airflow.authenticate(*login(stack.layout))
        self.airflow.await_dag(DAG_ID, deadline_seconds=120)
        self.cloud = Cloud(stack.url("vertex", "rest"), stack.url("gcs", "rest"), stack.layout.gcs_root)
        self._database = stack.layout.airflow / "airflow.db"
        self._before = {job.name for job in (*self.cloud.pipeline_jobs(), *self.cloud.custom_jobs())}
        # Far more steps than a test waits for: no job ends by itself.
        conf = {
            "window_end": "2015-06-01",
            "force_retrain": True,
            "promote": False,
            **SMALL,
            "train_steps": 100_000,
        }
        self.run_id = self.airflow.trigger(DAG_ID, conf)

    def pipeline_jobs(self) -> list[Job]:
        """Return the run's pipeline jobs, the oldest first."""
        return self._own(self.cloud.pipeline_jobs())

    def custom_jobs(self) -> list[Job]:
        """Return the run's custom jobs, the oldest first."""
        return self._own(self.cloud.custom_jobs())

    def task(self, task_id: str) -> TaskInstance:
        """Return a task as Airflow reports it."""
        tasks = self.airflow.task_instances(DAG_ID, self.run_id)
        return next(task for task in tasks if task.task_id == task_id)

    def is_watched(self) -> bool:
        """Return True if the pipeline's task is deferred and its trigger has polled the newest job."""
        if self.task("run_pipeline").state != "deferred":
            return False
        return any(f"Progress of {job.name}" in self.log("run_pipeline") for job in self.pipeline_jobs()[-1:])

    def log(self, task_id: str) -> str:
        """Return the log of a task's last try."""
        return self.airflow.log(DAG_ID, self.run_id, self.task(task_id))

    def mark(self, task_id: str, state: str) -> None:
        """Set a task's state, as a person does by a button."""
        path = f"dags/{DAG_ID}/dagRuns/{self.run_id}/taskInstances/{task_id}"
        self.airflow.call("PATCH", path, {"new_state": state})

    def overrun(self) -> None:
        """Make the run older than the DAG allows: its time-out is in days."""
        self._execute(
            "UPDATE dag_run SET start_date = strftime('%Y-%m-%d %H:%M:%f000', start_date, '-3 days')"
            f" WHERE run_id = '{self.run_id}'"
        )

    @contextmanager
    def another_triggerer(self) -> Iterator[None]:
        """Assign all triggers to another triggerer, as after a late heartbeat, and then to none."""
        self._execute(
            "INSERT INTO job (job_type, state, latest_heartbeat) VALUES"
            " ('TriggererJob', 'running', strftime('%Y-%m-%d %H:%M:%f000', 'now', '+1 hour'))",
            "UPDATE trigger SET triggerer_id = (SELECT max(id) FROM job)",
        )
        yield
        self._execute("DELETE FROM job WHERE id = (SELECT max(id) FROM job)")

    def _execute(self, *statements: str) -> None:
        with closing(sqlite3.connect(self._database, timeout=60)) as database, database:
            for statement in statements:
                database.execute(statement)

    def clear(self, task_id: str) -> None:
        """Clear one task."""
        self.airflow.call(
            "POST",
            f"dags/{DAG_ID}/clearTaskInstances",
            {
                "dry_run": False,
                "dag_run_id": self.run_id,
                "task_ids": [task_id],
                "only_failed": False,
                "reset_dag_runs": True,
            },
        )

    def _own(self, jobs: list[Job]) -> list[Job]:
        mine = [job for job in jobs if job.name not in self._before]
        return sorted(mine, key=lambda job: job.created)


@pytest.fixture(scope="module")
def watched(airflow_stack: LocalStack) -> Iterator[Watched]:
    """A run whose pipeline runs, and whose task is deferred."""
    run = Watched(airflow_stack)
    wait_for(run.is_watched, SECONDS)
    yield run
    if run.task("run_pipeline").state in {"running", "deferred"}:
        run.mark("run_pipeline", "failed")


def states_of_ended_jobs(watched: Watched) -> Any:  # noqa: ANN401  # states of jobs
    """Wait for the end of the newest job, and return the states of all attempts."""
    wait_for(lambda: watched.pipeline_jobs()[-1].ended, SECONDS)
    return [job.state for job in watched.pipeline_jobs()]


def test_what_ends_a_deferred_task_ends_its_job(watched: Watched) -> None:
    """Marking it failed cancels the job, clearing it submits the next one, a run's time-out cancels that."""
    watched.mark("run_pipeline", "failed")
    after_failed = states_of_ended_jobs(watched)
    watched.clear("run_pipeline")
    wait_for(watched.is_watched, SECONDS)

    watched.overrun()

    wait_for(lambda: watched.airflow.run_state(DAG_ID, watched.run_id) == RunState.FAILED, SECONDS)
    assert after_failed == ["CANCELLED"]
    assert states_of_ended_jobs(watched) == ["CANCELLED", "CANCELLED"]
    assert watched.task("run_pipeline").state == "skipped"


def test_clearing_a_succeeded_task_does_not_resubmit(watched: Watched) -> None:
    """A succeeded job stands for its DAG run: the cleared task attaches to it."""
    before = [job.name for job in watched.custom_jobs()]
    tries = watched.task("compile").try_number
    watched.clear("compile")

    wait_for(lambda: watched.task("compile").try_number > tries, SECONDS)
    wait_for(lambda: watched.task("compile").state == "success", SECONDS)

    assert [job.name for job in watched.custom_jobs()] == before
    # Airflow ignores a task that is cleared at the moment in which it ends the run.
    wait_for(lambda: watched.airflow.run_state(DAG_ID, watched.run_id) in set(RunState), SECONDS)


def test_clearing_a_deferred_task_cancels_its_job(watched: Watched) -> None:
    """Clearing a task that waits ends its job, and the next try has one of its own."""
    watched.clear("run_pipeline")
    wait_for(watched.is_watched, SECONDS)
    jobs = len(watched.pipeline_jobs())

    watched.clear("run_pipeline")
    wait_for(lambda: len(watched.pipeline_jobs()) > jobs, SECONDS)

    states = [job.state for job in watched.pipeline_jobs()[:jobs]]
    assert states == ["CANCELLED"] * jobs


def test_a_trigger_that_another_triggerer_has_leaves_its_job_alone(watched: Watched) -> None:
    """A live triggerer that lost its triggers to another one does not cancel their jobs."""
    wait_for(watched.is_watched, SECONDS)
    with watched.another_triggerer():
        wait_for(lambda: "Another triggerer waits for" in watched.log("run_pipeline"), SECONDS)

    # The log of the trigger starts over when another triggerer takes it up.
    wait_for(lambda: "Another triggerer waits for" not in watched.log("run_pipeline"), SECONDS)
    wait_for(watched.is_watched, SECONDS)

    assert watched.pipeline_jobs()[-1].state == "RUNNING"
