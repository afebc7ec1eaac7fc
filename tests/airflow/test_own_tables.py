"""Optional columns that a user's own table lacks, looked up in BigQuery."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from taxi_airflow.operators.rows import CheckRowsOperator
from taxi_airflow.operators.statement import BuildDatasetOperator, StatementOperator
from taxi_airflow.runs import run_of
from taxi_ml import naming, sql
from taxi_ml.sql import columns
from tests.airflow.tasks import context, run_task

if TYPE_CHECKING:
    from tests.local_stack import LocalStack

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("cloud")]
PARAMS = {"window_end": "2015-02-01", "train_months": 12}


def test_a_table_without_coordinates_is_built_from(
    cloud: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dataset of such a table has unknown coordinates in every trip, and all of them are counted."""
    client, ctx = cloud.bigquery_client(), context(params=PARAMS)
    create = StatementOperator(task_id="create", statement=lambda settings, _: sql.create_schema(settings))
    run_task(create, ctx)
    run_task(BuildDatasetOperator(task_id="build"), ctx)
    run = run_of(ctx)
    built = naming.dataset_table(run.settings, run.window)
    own = f"taxi-local.taxi.own_{uuid.uuid4().hex}"
    client.query(
        f"CREATE TABLE `{own}` AS SELECT * EXCEPT ({', '.join(columns.OPTIONAL)}) FROM `{built}`"
    ).result()
    monkeypatch.setenv("TAXI_SOURCE_TABLE", own)
    ctx = context(params=PARAMS)

    run_task(BuildDatasetOperator(task_id="build"), ctx)
    counted = run_task(CheckRowsOperator(task_id="check"), ctx)
    ((known, rows),) = client.query(f"SELECT COUNT(pickup_x), COUNT(*) FROM `{counted['table']}`").result()

    assert (known, rows) == (0, sum(counted["rows"].values()))
