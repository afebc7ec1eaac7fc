from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from local_vertex.domain.states import RunState, TaskState
from tests.airflow.servers import REGION, connect_to
from tests.airflow.tasks import first_event
from tests.waiting import wait_for
from vertex_airflow.hooks.async_vertex import Access, shared_vertex
from vertex_airflow.jobs import JobKind
from vertex_airflow.polling import Ending, WaitResult
from vertex_airflow.triggers.vertex_job import VertexJobTrigger

if TYPE_CHECKING:
    from tests.airflow.servers import Running, Vertex

MISSING = f"projects/taxi-local/locations/{REGION}/customJobs/1"


def trigger(name: str, **changes: Any) -> VertexJobTrigger:  # noqa: ANN401  # arguments of the trigger
    """Return the trigger under test, with short polling intervals."""
    arguments: dict[str, Any] = {
        "kind": "custom",
        "name": name,
        "region": REGION,
        "gcp_conn_id": "google_cloud_default",
        "shortest": 0.05,
        "longest": 0.2,
        "settle": 0.0,
        **changes,
    }
    return VertexJobTrigger(**arguments)


def start_custom_job(vertex: Vertex) -> str:
    """Start a job and return its name."""
    spec = {"worker_pool_specs": [{"container_spec": {"image_uri": "i"}, "replica_count": 1}]}
    job: Any = {"display_name": "j", "job_spec": spec}
    created = vertex.hook.jobs.create_custom_job(parent=vertex.hook.location, custom_job=job)
    return str(created.name)


def start_pipeline(vertex: Vertex) -> str:
    """Start a pipeline and return its job's name."""
    spec = {"pipelineInfo": {"name": "p"}, "root": {"dag": {"tasks": {}}}, "schemaVersion": "2.1.0"}
    job: Any = {
        "display_name": "p",
        "pipeline_spec": spec,
        "runtime_config": {"gcs_output_directory": "gs://bucket/root"},
    }
    created = vertex.hook.pipelines.create_pipeline_job(
        parent=vertex.hook.location, pipeline_job=job, pipeline_job_id="p-1"
    )
    return str(created.name)


def test_a_trigger_survives_the_database() -> None:
    """serialize() gives the class and JSON arguments that make an equal trigger."""
    original = trigger("j", deadline=1.5, impersonation_chain=["a@b.c"])

    path, arguments = original.serialize()
    again = VertexJobTrigger(**json.loads(json.dumps(arguments)))

    assert path == "vertex_airflow.triggers.vertex_job.VertexJobTrigger"
    assert original.serialize() == again.serialize()


def test_a_missing_job_ends_the_wait(vertex: Vertex) -> None:  # noqa: ARG001  # the server
    """A job that does not exist is reported at once."""
    event = asyncio.run(first_event(trigger(MISSING)))

    assert WaitResult.from_event(event).ending == Ending.MISSING


def test_an_event_is_under_a_kilobyte(vertex: Vertex) -> None:  # noqa: ARG001  # the server
    """Even an event with an error's text is small."""
    event = asyncio.run(first_event(trigger(MISSING + "0" * 120)))

    assert len(json.dumps(event)) < 1024


def test_a_kill_waits_for_the_cancellation(vertex: Vertex) -> None:
    """on_kill() returns when the job is really cancelled."""
    name = start_custom_job(vertex)

    asyncio.run(trigger(name).on_kill())

    assert vertex.hook.jobs.get_custom_job(name=name).state.name == "JOB_STATE_CANCELLED"


def test_a_kill_of_a_finished_job_changes_nothing(vertex: Vertex) -> None:
    """A job that ended before the kill stays as it is."""
    name = start_custom_job(vertex)
    vertex.jobs.report(name, RunState.SUCCEEDED)

    asyncio.run(trigger(name).on_kill())

    assert vertex.hook.jobs.get_custom_job(name=name).state.name == "JOB_STATE_SUCCEEDED"


def test_a_pipeline_reports_its_progress(vertex: Vertex, capsys: pytest.CaptureFixture[str]) -> None:
    """The components' table goes to the task's log when it changes."""
    name = start_pipeline(vertex)
    vertex.engine.finish_task(name, "Trainer", TaskState.SUCCEEDED)
    vertex.engine.end(name, RunState.SUCCEEDED)

    asyncio.run(first_event(trigger(name, kind="pipeline")))

    assert "Trainer    SUCCEEDED" in capsys.readouterr().out


def test_a_process_has_one_channel(vertex: Vertex) -> None:  # noqa: ARG001  # the server
    """All triggers of a process that use one connection and region share its channel."""
    access = Access(gcp_conn_id="google_cloud_default", region=REGION)

    async def both() -> tuple[object, object]:
        first, second = await asyncio.gather(shared_vertex(access), shared_vertex(access))
        return first, second

    first, second = asyncio.run(both())

    assert first is second


def test_waiting_does_not_block_the_event_loop(vertex: Vertex, capsys: pytest.CaptureFixture[str]) -> None:
    """While a poll hangs, other tasks of the loop run: one sees it hang before it is given up."""
    name = start_custom_job(vertex)
    vertex.order("GetCustomJob", "hang=3")

    async def beside() -> str:
        asking = asyncio.create_task(first_event(trigger(name)))
        await asyncio.to_thread(wait_for, lambda: not vertex.orders())
        logged = capsys.readouterr().out
        vertex.jobs.report(name, RunState.SUCCEEDED)
        await asking
        return logged

    logged = asyncio.run(beside())

    assert "failed" not in logged
    assert f"Asking for {name} failed" in capsys.readouterr().out


def test_a_restart_of_the_service_is_waited_out(
    vertex: Vertex, running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lost connections are transient, and the same channel finds the service again."""
    name = start_custom_job(vertex)
    vertex.order("GetCustomJob", "delay=0")

    async def across() -> dict[str, str]:
        asking = asyncio.create_task(first_event(trigger(name)))
        await asyncio.to_thread(wait_for, lambda: not vertex.orders())
        await asyncio.to_thread(running.stop)
        await asyncio.to_thread(wait_for, lambda: f"Asking for {name} failed" in capsys.readouterr().out)
        again = await asyncio.to_thread(running.start)
        await asyncio.to_thread(wait_for, lambda: bool(again.jobs.runs))
        again.jobs.report(name, RunState.SUCCEEDED)
        event: dict[str, str] = await asking
        return event

    event = asyncio.run(across())

    assert event == {"ending": "final", "state": "SUCCEEDED", "detail": ""}


def test_an_outage_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that stays away is given up on after the stated time."""
    connect_to(1, monkeypatch)

    event = asyncio.run(first_event(trigger(MISSING, outage=0.3)))

    assert WaitResult.from_event(event).ending == Ending.OUTAGE


def test_kinds_are_known() -> None:
    """A trigger for anything but a job or operation cannot be created."""
    with pytest.raises(ValueError, match="notebook"):
        trigger("j", kind="notebook")

    assert {"pipeline", "custom", "operation"} == set(JobKind)
