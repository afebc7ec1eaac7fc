"""A kill of a deferred task, in Airflow's own runner of triggers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow.jobs.triggerer_job_runner import TriggerRunner

from tests.airflow.test_trigger import start_custom_job, trigger
from tests.vertex.conftest import wait_for

if TYPE_CHECKING:
    from taxi_airflow.triggers.vertex_job import VertexJobTrigger

    from tests.airflow.conftest import Vertex


def start(runner: TriggerRunner, killed: VertexJobTrigger) -> asyncio.Task[None]:
    """Run a trigger as number 1."""
    running = asyncio.create_task(runner.run_trigger(1, killed))
    runner.triggers[1] = {"task": running, "is_watcher": False, "name": "killed", "events": 0}
    return running


async def kill(runner: TriggerRunner) -> None:
    """Cancel the trigger as Airflow does in every round of its loop until the trigger has ended."""
    runner.to_cancel.append(1)
    await runner.cancel_triggers()  # type: ignore[no-untyped-call]  # Airflow gives it no types


def state_of(vertex: Vertex, name: str) -> str:
    """Return the state of a custom job."""
    return str(vertex.hook.jobs.get_custom_job(name=name).state.name)


def test_a_kill_survives_the_second_cancellation(vertex: Vertex) -> None:
    """Airflow interrupts on_kill() after a second; the job is cancelled even if Vertex AI is slower."""
    name = start_custom_job(vertex)
    vertex.order("GetCustomJob", "delay=0")

    async def killed() -> None:
        runner = TriggerRunner()  # type: ignore[no-untyped-call]  # Airflow gives it no types
        running = start(runner, trigger(name))
        await asyncio.to_thread(wait_for, lambda: not vertex.orders())
        vertex.order("CancelCustomJob", "hang=1")
        await kill(runner)
        await asyncio.to_thread(wait_for, lambda: not vertex.orders())
        await kill(runner)
        await asyncio.wait([running])
        await asyncio.to_thread(wait_for, lambda: state_of(vertex, name) == "JOB_STATE_CANCELLED")

    asyncio.run(killed())

    assert state_of(vertex, name) == "JOB_STATE_CANCELLED"
