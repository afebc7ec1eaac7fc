"""Promotions that a person or a time limit interrupts, in a real Airflow."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import requests

from local_gcp.airflow_client import RunState
from tests.e2e.staged import SECONDS, Stage
from tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.staged import Staged
    from tests.local_stack import LocalStack

pytestmark = [pytest.mark.e2e, pytest.mark.pipeline, pytest.mark.timeout(900)]

ACTIVE = ("scheduled", "queued", "running", "deferred")


@pytest.fixture(scope="module")
def stage(airflow_stack: LocalStack) -> Iterator[Stage]:
    """An Airflow whose endpoint serves nothing yet."""
    stage = Stage(airflow_stack)
    stage.cloud.empty_endpoints()
    yield stage
    wait_for(lambda: emptied(stage), SECONDS)


def emptied(stage: Stage) -> bool:
    """Empty the endpoints unless a run that timed out is still being undone in the DAG processor."""
    try:
        stage.cloud.empty_endpoints()
    except requests.HTTPError:
        return False
    return True


@pytest.fixture(scope="module")
def champion(stage: Stage) -> Staged:
    """A run whose model serves."""
    return stage.begin().await_end()


def overrun(run: Staged) -> None:
    """Make a run older than the DAG allows: its time-out is in days."""
    database = run.stage.stack.layout.airflow / "airflow.db"
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        connection.execute(
            "UPDATE dag_run SET start_date = strftime('%Y-%m-%d %H:%M:%f000', start_date, '-3 days')"
            " WHERE run_id = ?",
            (run.run_id,),
        )


def end(run: Staged, how: str) -> None:
    """End a run from outside."""
    if how == "marked failed":
        run.mark_failed()
    else:
        overrun(run)


def test_clearing_an_ended_promotion_leaves_it_serving(stage: Stage, champion: Staged) -> None:
    """The group `promote`, cleared after its success, finds everything done."""
    assert champion.state == RunState.SUCCESS
    before = stage.serving

    champion.clear_promotion()
    champion.await_end()

    assert (champion.state, before, stage.serving) == (
        RunState.SUCCESS,
        {champion.artifact: 100},
        {champion.artifact: 100},
    )


@pytest.mark.parametrize("how", ["marked failed", "timed out"])
@pytest.mark.parametrize(("step", "options"), [("deploy", ()), ("smoke_predict", ("--hangs",))])
def test_a_run_that_is_ended_before_the_shift_leaves_what_served(
    stage: Stage, champion: Staged, step: str, options: tuple[str, ...], how: str
) -> None:
    """After an interruption the old model has all traffic, the new one is gone, and the run has failed."""
    run = stage.begin(*options)
    run.await_state(step, "running", "deferred")
    if step == "smoke_predict":
        wait_for(lambda: stage.serving.get(run.artifact) == 10, SECONDS)

    end(run, how)
    run.await_end()

    wait_for(lambda: stage.serving == {champion.artifact: 100}, SECONDS)
    wait_for(lambda: not stage.cloud.unfinished_operations(), SECONDS)
    assert run.state == RunState.FAILED


@pytest.mark.parametrize("how", ["marked failed", "timed out"])
@pytest.mark.parametrize("step", ["shift_traffic", "undeploy_others"])
def test_a_run_that_is_ended_at_the_shift_leaves_one_model_serving(
    stage: Stage, champion: Staged, step: str, how: str
) -> None:
    """One of the two models has all of the traffic and the alias."""
    before = stage.serving
    (old,) = (artifact for artifact, share in before.items() if share)
    run = stage.begin()
    run.await_state(step, *ACTIVE, "success")

    end(run, how)
    run.await_end()

    def left() -> dict[str, int]:
        """Return the deployed models, except those that an earlier run has left without traffic."""
        return {name: share for name, share in stage.serving.items() if share or before.get(name) != 0}

    # A time-out is undone in the DAG processor, after the run has ended.
    wait_for(lambda: left() in ({old: 100}, {run.artifact: 100}, {run.artifact: 100, old: 0}), SECONDS)
    assert champion.state == RunState.SUCCESS
