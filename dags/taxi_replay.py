"""Replay many months: what would each policy of the gate have shipped, and how would users have fared?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param

from taxi_airflow.operators.replay import (
    SETTINGS_KEY,
    ListMonthsOperator,
    PlanReplayOperator,
    ShowReplayOperator,
    TrainMonthOperator,
)
from taxi_airflow.runs import LONGEST_JOB
from vertex_airflow.operators.custom_job import VertexCustomJobOperator


def planned(key: str) -> str:
    """Return the template for an address that `plan` returned."""
    return f"{{{{ ti.xcom_pull(task_ids='plan')['{key}'] }}}}"


def setting(name: str) -> str:
    """Return the template for a setting."""
    return f"{{{{ ti.xcom_pull(task_ids='list_months', key='{SETTINGS_KEY}')['{name}'] }}}}"


def months(title: str) -> Param:
    """Return the parameter for a length in months."""
    text = f"Whole months of trips to {title}. Empty: the installation's setting."
    title = f"Months to {title}"
    return Param(None, type=["null", "integer"], minimum=1, maximum=240, title=title, description=text)


JOB: dict[str, Any] = {
    "region": setting("region"),
    "image": setting("pipeline_image"),
    "machine_type": setting("compile_machine_type"),
    "service_account": setting("service_account"),
    "timeout_seconds": LONGEST_JOB.total_seconds(),
    "labels": {"app": "taxi-vertex", "dag": "taxi_replay"},
}

with DAG(
    dag_id="taxi_replay",
    description="What each policy of the gate would have shipped, and the error that users would have met",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2013, 2, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(seconds=20),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
    },
    params={
        "first_end": Param(
            "2015-02-01",
            type="string",
            format="date",
            title="First window end",
            description="First day after the test months of the first run, such as 2015-02-01.",
        ),
        "last_end": Param(
            "2016-01-01",
            type="string",
            format="date",
            title="Last window end",
            description="First day after the test months of the last run.",
        ),
        "policy": Param(
            None,
            type=["null", "string"],
            format="multiline",
            title="Policy",
            description="A policy.toml to compare with the shipped one. Empty: the shipped one alone.",
        ),
        "workers": Param(
            2,
            type="integer",
            minimum=1,
            maximum=100,
            title="Runs at once",
            description="Months that train at the same time; TAXI_PARALLEL_RUNS bounds them too.",
        ),
        "train_months": months("train on"),
        "test_months": months("test on"),
        "train_steps": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Training steps",
            description="Maximum batches to train on. Empty: the installation's setting.",
        ),
        "tuner_trials": Param(
            0,
            type=["null", "integer"],
            minimum=0,
            maximum=1000,
            title="Tuner trials",
            description="Hyperparameter sets to try for each month. 0: no Tuner. Empty: the installation's "
            "setting.",
        ),
    },
    tags=["taxi", "vertex-ai", "tfx"],
) as dag:
    list_months = ListMonthsOperator(task_id="list_months")
    train = TrainMonthOperator.partial(
        task_id="train", map_index_template="{{ task.conf['window_end'] }}"
    ).expand_kwargs(list_months.output)
    plan = PlanReplayOperator(task_id="plan")
    score = VertexCustomJobOperator(
        task_id="score",
        display_name="score-{{ run_id[:100] }}",
        command=["python", "-m", "taxi_ml.replay.score"],
        args=["--plan", planned("plan"), "--out", planned("folder")],
        produces=f"{planned('folder')}/index.json",
        **JOB,
    )
    simulate = VertexCustomJobOperator(
        task_id="simulate",
        display_name="simulate-{{ run_id[:100] }}",
        command=["python", "-m", "taxi_ml.replay"],
        args=["--errors", planned("folder"), "--policy", planned("policy"), "--out", planned("results")],
        produces=f"{planned('results')}/replay.html",
        **JOB,
    )
    show = ShowReplayOperator(task_id="show", results=planned("results"))

    list_months >> train >> plan >> score >> simulate >> show
