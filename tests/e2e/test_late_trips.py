"""A month whose last trips have not arrived yet, in a real Airflow."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_gcp.airflow import AIRFLOW, login
from local_gcp.airflow_client import AirflowClient, RunState
from local_gcp.layout import Layout
from local_gcp.services import CLOUD
from local_gcp.stack import Stack
from tests.e2e.runs import DAG_ID, Runs
from tests.local_stack import LocalStack
from tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_gcp.services import Declaration, Setting
    from local_gcp.supervise import Service

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

TABLE = "taxi-local.taxi.late"
TRIPS = "bigquery-public-data.chicago_taxi_trips.taxi_trips"
# The first of this month is never longer ago.
WAITING = {"TAXI_WAIT_DAYS": "60", "TAXI_TRIPS_TABLE": TABLE}
SECONDS = 120.0


def waiting(airflow: Declaration) -> Declaration:
    """Return a service of Airflow that waits for the trips of the table."""

    def build(setting: Setting) -> Service:
        service = airflow.build(setting)
        return replace(service, environment={**service.environment, **WAITING})

    return replace(airflow, build=build)


@pytest.fixture
def runs() -> Iterator[Runs]:
    """The DAG in an Airflow that waits, with a local cloud of its own."""
    with tempfile.TemporaryDirectory(prefix="local_gcp_") as folder:
        layout = Layout(state=Path(folder).resolve())
        running = Stack(layout, declarations=(*CLOUD, *map(waiting, AIRFLOW)))
        try:
            running.up()
            stack = LocalStack(stack=running, layout=layout)
            client = AirflowClient(stack.url("airflow-api", "rest"))
            client.authenticate(*login(layout))
            client.await_dag(DAG_ID, deadline_seconds=120)
            found = Runs(stack, client)
            yield found
            found.channel.close()
        finally:
            running.down()


def test_a_run_waits_until_the_month_is_complete(runs: Runs) -> None:
    """The task is deferred, survives a kill, and lets the run continue once the last trips have arrived."""
    end = datetime.now(UTC).date().replace(day=1)
    client = runs.stack.bigquery_client()

    def trips(day: object) -> str:
        return f"SELECT * REPLACE (TIMESTAMP '{day} 12:00:00' AS trip_start_timestamp) FROM `{TRIPS}` LIMIT 1"

    def state(task_id: str) -> str | None:
        tasks = runs.airflow.task_instances(DAG_ID, run_id)
        return next(task.state for task in tasks if task.task_id == task_id)

    client.query("CREATE SCHEMA IF NOT EXISTS `taxi-local.taxi`").result()
    client.query(f"CREATE TABLE `{TABLE}` AS {trips(end - timedelta(days=9))}").result()
    run_id = runs.airflow.trigger(DAG_ID, {"window_end": f"{end}"})
    wait_for(lambda: state("wait_for_trips") == "deferred", SECONDS)
    said = runs.log(run_id, "wait_for_trips")
    client.query(f"INSERT `{TABLE}` {trips(end - timedelta(days=1))}").result()
    cleared = {"dry_run": False, "dag_run_id": run_id, "task_ids": ["wait_for_trips"], "only_failed": False}
    runs.airflow.call("POST", f"dags/{DAG_ID}/clearTaskInstances", cleared)
    wait_for(lambda: runs.airflow.run_state(DAG_ID, run_id) == RunState.FAILED, SECONDS)

    assert f"the newest is of {end - timedelta(days=9)}. 8 days at the end are missing" in said
    assert (state("wait_for_trips"), state("check_rows")) == ("success", "failed")
