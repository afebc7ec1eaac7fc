"""The same window twice: there is nothing to promote, and nothing is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local_gcp.airflow_client import RunState
from tests.e2e.runs import DAG_ID, SMALL

if TYPE_CHECKING:
    from tests.e2e.runs import Runs

pytestmark = [pytest.mark.e2e, pytest.mark.pipeline, pytest.mark.timeout(1200)]


def serving(runs: Runs) -> tuple[list[str], dict[str, int]]:
    """Return the deployed models of the endpoint, and its traffic."""
    (endpoint,) = runs.endpoints()
    return [deployed.id for deployed in endpoint.deployed_models], dict(endpoint.traffic_split)


def test_a_window_that_runs_twice_leaves_one_version(
    runs: Runs, first_month: tuple[str, dict[str, str | None]]
) -> None:
    """The second run takes model and Pusher's copy from the cache, and ends green as unchanged."""
    first, _ = first_month
    model = runs.airflow.xcom(DAG_ID, first, "promote.register")["model"]
    before = serving(runs), runs.versions(model)

    run_id, states = runs.run({"window_end": "2015-02-01", **SMALL})

    ends = ("unchanged", "reject", "evaluate_only", "promote.register", "promote.roll_back")
    assert {task: states[task] for task in ends} == {"unchanged": "success"} | dict.fromkeys(
        ends[1:], "skipped"
    )
    assert runs.airflow.run_state(DAG_ID, run_id) == RunState.SUCCESS
    assert runs.airflow.xcom(DAG_ID, run_id, "gate")["verdict"] == "unchanged"
    assert (serving(runs), runs.versions(model)) == before
