"""A kill of a deferred task, in Airflow's own runner of triggers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetXCom, TaskStatesResult, XComResult

from tests.airflow.servers import REGION
from tests.airflow.tasks import Pushed, context
from tests.airflow.test_trigger import start_custom_job, trigger
from tests.waiting import wait_for
from vertex_airflow.operators.custom_job import VertexCustomJobOperator

if TYPE_CHECKING:
    from airflow.sdk.execution_time.comms import GetTaskStates

    from tests.airflow.servers import Vertex
    from vertex_airflow.triggers.vertex_job import VertexJobTrigger


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervisor:
    """Answers what Airflow's supervisor of triggers would: a task's state, and what its tries pushed."""

    state: str
    waiting_try: int = 1
    map_index: int = -1
    xcom: dict[str, Any] = field(default_factory=dict)

    def send(self, message: GetTaskStates | GetXCom) -> TaskStatesResult | XComResult:
        """Answer about the only task there is."""
        if isinstance(message, GetXCom):
            return XComResult(key=message.key, value=self.xcom.get(message.key))
        key = "compile" if self.map_index < 0 else f"compile_{self.map_index}"
        return TaskStatesResult(task_states={"manual__1": {key: self.state}})


@pytest.mark.parametrize(
    ("supervisor", "expected"),
    [
        (Supervisor(state="failed"), "JOB_STATE_CANCELLED"),
        (Supervisor(state="deferred", waiting_try=2), "JOB_STATE_CANCELLED"),
        (Supervisor(state="deferred"), "JOB_STATE_RUNNING"),
        (Supervisor(state="deferred", map_index=3), "JOB_STATE_RUNNING"),
    ],
    ids=["marked failed", "cleared, and the next try is deferred", "handed over", "handed over, mapped"],
)
def test_a_trigger_that_was_handed_over_leaves_its_job_alone(
    vertex: Vertex, monkeypatch: pytest.MonkeyPatch, supervisor: Supervisor, expected: str
) -> None:
    """on_kill() cancels for a person, and not because another triggerer has the trigger now."""
    given = context()
    given["ti"] = Pushed(task_id="compile", map_index=supervisor.map_index, xcom=supervisor.xcom)
    task = VertexCustomJobOperator(task_id="compile", display_name="compile", image="i", region=REGION)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(given)
    killed = deferred.value.trigger
    killed.task_instance = SimpleNamespace(
        dag_id="taxi_training",
        run_id="manual__1",
        task_id="compile",
        map_index=supervisor.map_index,
        try_number=1,
    )
    given["ti"].try_number = supervisor.waiting_try
    with pytest.raises(TaskDeferred):
        task.execute(given)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)

    asyncio.run(killed.on_kill())

    assert state_of(vertex, vertex.jobs.runs[0].name) == expected
