"""Operators over lists that lag behind the resources that really exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from local_vertex.domain.past import Lags
from local_vertex.domain.states import RunState
from tests.airflow.promotion import FAST, NAME, live
from tests.airflow.tasks import context, in_background, run_task
from tests.waiting import wait_for
from vertex_airflow import endpoints, model_registry
from vertex_airflow.operators.custom_job import VertexCustomJobOperator
from vertex_airflow.operators.roll_back import RollBackOperator

if TYPE_CHECKING:
    from tests.airflow.promotion import Begin
    from tests.airflow.servers import Vertex

# As long as an operator is willing to look, which is longer than lists lag behind here.
LOOK = 10.0


@pytest.fixture
def lags() -> Lags:
    """Let lists lag behind a little."""
    return Lags(lists=0.5)


def submit(try_number: int) -> str:
    """Let a try of a task run until it waits, and return the job that it waits for."""
    ctx = context()
    ctx["ti"].try_number = try_number
    arguments = {"display_name": "compile", "image": "i", **FAST, "list_lag": LOOK}
    task = VertexCustomJobOperator(task_id="compile", **arguments)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(ctx)
    return str(deferred.value.trigger.name)


def make_endpoint(vertex: Vertex, display_name: str = NAME) -> str:
    """Make an endpoint as a person does, with an id of Vertex AI's; return it when lists show it."""
    hook = vertex.hook
    making: Any = hook.endpoints.create_endpoint(
        {"parent": hook.location, "endpoint": {"display_name": display_name}}
    )
    name = str(making.result().name)
    wait_for(lambda: name in [each.name for each in hook.endpoints.list_endpoints(parent=hook.location)])
    return name


def test_a_try_finds_the_job_that_no_list_showed_at_first(vertex: Vertex) -> None:
    """A worker that died just after the create call leaves its job to the next try."""
    first = submit(try_number=1)

    again = submit(try_number=2)

    assert (first, 1) == (again, len(vertex.jobs.runs))


def test_a_job_is_taken_for_what_it_is(vertex: Vertex) -> None:
    """A job that was just cancelled is replaced, though a list still shows it running."""
    first = submit(try_number=1)
    wait_for(lambda: bool(list(vertex.hook.jobs.list_custom_jobs(parent=vertex.hook.location))))
    vertex.jobs.report(first, RunState.CANCELLED)

    assert submit(try_number=1) != first


def test_a_job_that_was_deleted_is_not_attached_to(vertex: Vertex) -> None:
    """A list still shows a job that is gone."""
    first = submit(try_number=1)
    vertex.jobs.report(first, RunState.SUCCEEDED)
    wait_for(lambda: bool(list(vertex.hook.jobs.list_custom_jobs(parent=vertex.hook.location))))
    vertex.hook.jobs.delete_custom_job(name=first)

    assert submit(try_number=1) != first


def test_an_endpoint_of_our_own_is_found_at_once(vertex: Vertex, begin: Begin) -> None:
    """The id of a pipeline job is its name, so that no list is needed."""
    run = begin("run-1").register()

    run.deploy()

    assert live(vertex).name.endswith(f"/endpoints/{NAME}")


def test_an_endpoint_of_somebody_elses_is_found_by_its_display_name(vertex: Vertex, begin: Begin) -> None:
    """An endpoint that a person made before is used, and no other is made."""
    name = make_endpoint(vertex)

    begin("run-1").prepare()

    assert (live(vertex).name, len(live(vertex).deployed)) == (name, 1)


def test_the_state_of_an_endpoint_is_never_a_lists(vertex: Vertex, begin: Begin) -> None:
    """Traffic that has just moved is seen to have moved, on any endpoint."""
    make_endpoint(vertex)
    run = begin("run-1").prepare()

    endpoints.set_traffic(vertex.hook, live(vertex), {str(run.deployed): 100})

    assert live(vertex).split == {run.deployed: 100}


@pytest.mark.parametrize("change", ["delete", "rename"])
def test_an_endpoint_that_is_not_there_any_more_is_not_found(vertex: Vertex, change: str) -> None:
    """A list still shows an endpoint that was deleted, and the old name of one that was renamed."""
    name = make_endpoint(vertex)
    if change == "delete":
        deleting: Any = vertex.hook.endpoints.delete_endpoint(name=name)
        deleting.result()
    else:
        vertex.hook.endpoints.update_endpoint(
            {"endpoint": {"name": name, "display_name": "other"}, "update_mask": {"paths": ["display_name"]}}
        )

    assert endpoints.find_endpoint(vertex.hook, NAME) is None


def test_a_model_that_no_list_shows_gets_versions(vertex: Vertex, begin: Begin) -> None:
    """A second version is not another model because the first was made just now."""
    first, second = (begin(run).register().model for run in ("run-1", "run-2"))

    model = f"{vertex.hook.location}/models/{NAME}"
    assert [each.partition("/models/")[2] for each in (first, second)] == [f"{NAME}@1", f"{NAME}@2"]
    assert model_registry.find_model(vertex.hook, NAME) is not None
    assert vertex.hook.models.get_model(name=model).version_id == "1"


def test_a_roll_back_looks_for_the_deployment_of_a_lost_worker(vertex: Vertex, begin: Begin) -> None:
    """A deployment that no list shows yet is waited for and undone, not left behind."""
    run = begin("run-1", kind="slow").register()
    make_own_endpoint(vertex)
    with pytest.raises(TaskDeferred) as deferred:
        run.deploy_task().execute(context("run-1"))
    deployment = str(deferred.value.trigger.name)

    def let_it_start() -> None:
        wait_for(lambda: deployment in listed_operations(vertex))
        vertex.servers.release.set()

    starting = in_background(let_it_start)
    task = RollBackOperator(task_id="roll_back", **{**run.common, "list_lag": LOOK})
    with pytest.raises(AirflowFailException, match="is not promoted"):
        run_task(task, context("run-1"))
    starting.join()

    assert (live(vertex).deployed, vertex.servers.models) == ({}, {})


def make_own_endpoint(vertex: Vertex) -> None:
    """Make the endpoint that a deployment would make."""
    making: Any = vertex.hook.endpoints.create_endpoint(
        {"parent": vertex.hook.location, "endpoint": {"display_name": NAME}, "endpoint_id": NAME}
    )
    making.result()


def listed_operations(vertex: Vertex) -> list[str]:
    """Return the operations that a list shows."""
    answer = vertex.hook.pipelines.list_operations({"name": live(vertex).name})
    return [each.name for each in answer.operations]
