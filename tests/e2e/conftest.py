"""The runs of the DAG that several tests look at; each is run once a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local_gcp.airflow import login
from local_gcp.airflow_client import AirflowClient
from tests.e2e.runs import DAG_ID, SMALL, Runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local_stack import LocalStack


@pytest.fixture(scope="session")
def runs(airflow_stack: LocalStack) -> Iterator[Runs]:
    """The DAG in a running Airflow."""
    client = AirflowClient(airflow_stack.url("airflow-api", "rest"))
    client.authenticate(*login(airflow_stack.layout))
    client.await_dag(DAG_ID, deadline_seconds=120)
    found = Runs(airflow_stack, client)
    yield found
    found.channel.close()


@pytest.fixture(scope="session")
def first_month(runs: Runs) -> tuple[str, dict[str, str | None]]:
    """The run of the first month, which meets no champion."""
    return runs.run({"window_end": "2015-02-01", **SMALL})


@pytest.fixture(scope="session")
def second_month(
    runs: Runs,
    first_month: tuple[str, dict[str, str | None]],  # noqa: ARG001  # the champion comes from it
) -> tuple[str, dict[str, str | None]]:
    """The run of the next month, which only evaluates, long after the files of the first one have expired."""
    if not any("Pusher" in name for name in runs.apply_retention()):
        pytest.fail("the bucket's rule deletes none of what the first run's Pusher left")
    return runs.run({"window_end": "2015-03-01", "promote": False, **SMALL})
