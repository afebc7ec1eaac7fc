from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import taxi_training
from airflow.sdk import CronDataIntervalTimetable
from airflow.sdk.exceptions import TaskDeferred

from taxi_airflow.operators.statement import StatementOperator
from taxi_airflow.runs import longest_run, run_of
from taxi_ml.settings import parallel_runs
from tests.airflow.servers import REGION
from tests.airflow.tasks import context
from vertex_airflow.operators.custom_job import VertexCustomJobOperator

if TYPE_CHECKING:
    from tests.airflow.servers import Vertex

REPOSITORY = Path(__file__).parents[2]
HEAVY = (
    "tensorflow",
    "tfx",
    "apache_beam",
    "pandas",
    "google.cloud.aiplatform",
    "google.cloud.aiplatform_v1",
    "google.cloud.bigquery",
    "google.cloud.storage",
    "airflow.providers.google.cloud.operators",
    "airflow.providers.google.common.hooks.base_google",
)
DAG = taxi_training.dag


def in_fresh_process(program: str) -> Any:  # noqa: ANN401  # any JSON
    """Return the JSON that a Python program prints in a process where nothing is imported yet."""
    path = [str(REPOSITORY), str(REPOSITORY / "plugins"), str(REPOSITORY / "dags")]
    completed = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{program}"],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(completed.stdout.splitlines()[-1])


def test_parsing_imports_nothing_heavy() -> None:
    """After importing the DAG, no TensorFlow, no client of a Google service, no operator of the provider."""
    loaded = in_fresh_process(
        f"import json, taxi_training\nprint(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    )

    assert loaded == []


def test_the_schedule_has_data_intervals() -> None:
    """A run stands for a month: monthly, with an interval, one at a time, no catch-up."""
    assert isinstance(DAG.timetable, CronDataIntervalTimetable)
    assert (DAG.catchup, DAG.max_active_runs) == (False, 1)


@pytest.mark.parametrize(("text", "runs"), [("", 1), ("3", 3), ("0", 1), ("many", 1)])
def test_runs_at_once_are_a_setting(text: str, runs: int) -> None:
    """One run at a time unless the installation says otherwise; a wrong setting counts as unset."""
    assert parallel_runs({"TAXI_PARALLEL_RUNS": text} if text else {}) == runs


@pytest.mark.parametrize("task", DAG.tasks)
def test_every_task_is_retried_with_back_off(task: Any) -> None:  # noqa: ANN401  # an operator
    """A worker may die anywhere, and what reaches a cloud is tried again, later and later."""
    assert task.retries == 3
    assert task.retry_exponential_backoff


@pytest.mark.parametrize("task", [each for each in DAG.tasks if hasattr(each, "labels")])
def test_every_job_is_labelled(task: Any) -> None:  # noqa: ANN401  # an operator
    """Every job and model version carries application, DAG, run and window."""
    version = (
        {"trained_from", "trained_until", "judged_until", "skill"}
        if task.task_id == "promote.register"
        else set()
    )

    assert {"app", "dag", "run", "window"} | version == set(task.labels)


@pytest.mark.parametrize("name", list(DAG.params))
def test_every_parameter_explains_itself(name: str) -> None:
    """The trigger form has a title and a description for every field, and a type."""
    param = DAG.params.get_param(name)

    assert {"title", "type"} <= set(param.schema)
    assert param.description


def test_nothing_is_submitted_before_the_door() -> None:
    """Every task comes after the validation and the checks that run before anything is spent."""
    before = DAG.get_task("preflight").get_flat_relative_ids(upstream=False)

    assert set(DAG.task_ids) - {"validate", "preflight"} == before
    assert DAG.get_task("preflight").upstream_task_ids == {"validate"}


def test_the_champion_is_known_before_anything_is_spent() -> None:
    """A run without a fair comparison starts no query, except the look at the trips, and no job."""
    after = DAG.get_task("find_champion").get_flat_relative_ids(upstream=False)
    before = {"validate", "preflight", "wait_for_trips", "find_champion", "upload_modules"}

    assert set(DAG.task_ids) - before == after


def test_nothing_is_recorded_or_spent_while_trips_are_awaited() -> None:
    """The champion and the training code are those of the day on which the trips have arrived."""
    after = DAG.get_task("wait_for_trips").get_flat_relative_ids(upstream=False)

    assert set(DAG.task_ids) - {"validate", "preflight", "wait_for_trips"} == after


def test_a_run_may_wait_and_then_work() -> None:
    """The time that a run may take begins before the wait for trips; that of its jobs does not."""
    jobs: list[Any] = [DAG.get_task(task) for task in ("compile", "run_pipeline")]

    assert DAG.dagrun_timeout == timedelta(days=14 + 2)
    assert {task.timeout_seconds for task in jobs} == {timedelta(days=2).total_seconds()}


@pytest.mark.parametrize(("text", "days"), [("", 16), ("0", 2), ("30", 32), ("soon", 16), ("-1", 16)])
def test_the_longest_run_follows_the_wait(text: str, days: int) -> None:
    """A wrong setting counts as unset at parse time: the first task of a run refuses it."""
    environ = {"TAXI_WAIT_DAYS": text} if text else {}

    assert longest_run(environ) == timedelta(days=days)


def test_the_form_overrides_what_is_known_of_the_champion() -> None:
    """A person may choose to compare with nothing, and to replace a model of a later window."""
    codes = DAG.params.get_param("override_codes").schema["items"]["enum"]

    assert {"champion_missing", "champion_newer"} <= set(codes)


@pytest.mark.parametrize(("promote", "evaluates"), [(True, "False"), (False, "True")])
@pytest.mark.stack
@pytest.mark.usefixtures("cloud")
def test_the_champions_window_is_compared_with_that_of_the_run(
    promote: bool,  # noqa: FBT001  # a parameter
    evaluates: str,
) -> None:
    """The task that finds the champion is told the run's window, and whether it promotes."""
    params = {"window_end": "2015-03-01", "promote": promote}
    names: Any = {**context(params=params), "taxi": run_of}
    task = DAG.get_task("find_champion")

    rendered = [task.render_template(getattr(task, field), names) for field in ("window", "evaluate_only")]

    assert rendered == ["2015-03_train24_test1", evaluates]


@pytest.mark.stack
@pytest.mark.usefixtures("cloud")
def test_a_version_carries_the_days_of_its_training() -> None:
    """Later runs read from its labels what it has learned from, which for a refit only the gate knows."""
    names: Any = {**context(params={"window_end": "2015-03-01"}), "taxi": run_of}
    names["ti"].pulled["gate"] = {"trained_until": "2015-03-01"}

    labels = DAG.get_task("promote.register").render_template(taxi_training.TRAINED, names)

    assert labels == {
        "trained_from": "2013-02-01",
        "trained_until": "2015-03-01",
        "judged_until": "2015-02-01",
    }


def test_what_was_compiled_is_what_runs() -> None:
    """The compiler's job is skipped if the exact spec that the pipeline runs already exists."""
    compiler: Any = DAG.get_task("compile")
    pipeline: Any = DAG.get_task("run_pipeline")

    assert compiler.produces == pipeline.spec_uri == compiler.args[-1]


@pytest.mark.parametrize(
    ("returned", "pushed_to"),
    [
        ({"properties": {"Pusher.pushed_model.pushed_destination": "gs://b/serving/1"}}, "gs://b/serving/1"),
        ({"properties": {}}, ""),
        ({}, ""),
    ],
)
def test_the_gate_is_told_where_the_model_was_pushed(returned: dict[str, Any], pushed_to: str) -> None:
    """The address is a property of the Pusher's output; without one there is nothing to serve."""
    task: Any = DAG.get_task("gate")
    names: Any = {**context(), "ti": SimpleNamespace(xcom_pull=lambda **_: returned)}

    assert task.render_template(task.pushed_to, names) == pushed_to


def test_counts_come_before_the_pipeline() -> None:
    """No pipeline starts for a window with too few rows, and no export either."""
    after = DAG.get_task("check_rows").get_flat_relative_ids(upstream=False)

    assert {"export.train", "export.eval", "export.test", "export.averages", "run_pipeline"} <= after


def test_the_size_is_decided_before_anything_is_made_of_it() -> None:
    """The compiler's job and the export use the number of rows that were counted."""
    sized = {"export.train", "export.eval", "export.test", "write_request"}
    before = {name: DAG.get_task(name).get_flat_relative_ids(upstream=True) for name in sized}

    assert all("check_rows" in upstream for upstream in before.values())


@pytest.mark.parametrize(
    ("counted", "rows"),
    [
        ({"table": "t", "rows": {"train": 2, "eval": 1, "test": 1}}, '{"eval": 1, "test": 1, "train": 2}'),
        (None, "null"),
    ],
)
def test_counted_rows_reach_the_tasks_as_json(counted: dict[str, Any] | None, rows: str) -> None:
    """The result of check_rows is rendered as JSON, and so is a result of None."""
    names: Any = {"ti": SimpleNamespace(xcom_pull=lambda **_: counted)}
    task: Any = DAG.get_task("export.test")

    assert task.render_template(task.rows, names) == rows


def test_rolling_back_survives_the_end_of_the_run() -> None:
    """A teardown runs when the run is marked failed; one that undoes a promotion fails the run."""
    roll_back = DAG.get_task("promote.roll_back")

    assert (roll_back.is_teardown, roll_back.on_failure_fail_dagrun) == (True, True)


def test_every_failure_of_the_promotion_fails_the_run() -> None:
    """Airflow looks at the last tasks only: undeploying is one of them, beside the teardown."""
    leaves = {task.task_id for task in DAG.tasks if not task.downstream_task_ids}

    assert leaves == {"promote.undeploy_others", "promote.roll_back", "reject", "evaluate_only", "unchanged"}


def test_statements_are_deferrable() -> None:
    """BigQuery jobs wait without a worker slot."""
    statements = [task for task in DAG.tasks if isinstance(task, StatementOperator)]

    assert all(task.deferrable for task in statements)
    assert len(statements) == 6


@pytest.mark.stack
@pytest.mark.usefixtures("bucket")
def test_a_long_run_id_has_a_compile_job_that_vertex_accepts(vertex: Vertex) -> None:
    """The longest run id that Airflow allows names a job that Vertex AI creates, not one that it refuses."""
    running = context("manual__2015-06:first+" + "X" * 228)
    task = DAG.get_task("compile")
    names: Any = {**running, "taxi": run_of}
    rendered = {
        field: task.render_template(getattr(task, field), names) for field in ("display_name", "labels")
    }

    with pytest.raises(TaskDeferred):
        VertexCustomJobOperator(
            task_id="compile", region=REGION, image="taxi:1", command=["python"], **rendered
        ).execute(running)

    assert len(vertex.jobs.runs) == 1
