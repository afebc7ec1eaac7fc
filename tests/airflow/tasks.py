"""Run operators and triggers as Airflow's worker and triggerer do."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import TaskDeferred

from local_gcp.layout import BUCKET
from taxi_airflow.runs import PINNED_BY, Run
from tests.airflow.servers import SETTINGS
from tests.waiting import wait_for
from vertex_airflow.objects import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow.sdk import BaseOperator


@dataclass(slots=True)
class Pushed:
    """A task instance as far as operators see it; XCom is a dictionary."""

    task_id: str = "task"
    map_index: int = -1
    try_number: int = 1
    xcom: dict[str, Any] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    pulled: dict[str, Any] = field(default_factory=dict)
    pin: Callable[[], Run] | None = None

    def xcom_pull(self, *, task_ids: str) -> Any:  # noqa: ANN401  # Airflow's
        """Return what a task returned; validate pins the run by the environment at the first pull."""
        if task_ids == PINNED_BY and self.pin and PINNED_BY not in self.pulled:
            uri = f"gs://{BUCKET}/tests/{uuid.uuid4().hex}/run.json"
            ObjectStore(gcp_conn_id="google_cloud_default").write(uri, self.pin().to_json())
            self.pulled[PINNED_BY] = {"run": uri}
        return self.pulled.get(task_ids)

    def get_task_states(self, *, dag_id: str, run_ids: list[str]) -> dict[str, dict[str, str]]:
        """Return the states of the run's tasks."""
        del dag_id
        return dict.fromkeys(run_ids, self.states)

    def xcom_push(self, key: str, value: Any) -> None:  # noqa: ANN401  # Airflow's
        """Keep a value."""
        self.xcom[key] = value


def context(
    run_id: str = "manual__1",
    *,
    params: Mapping[str, Any] | None = None,
    conf: Mapping[str, Any] | None = None,
    interval_end: datetime | None = datetime(2015, 7, 1, tzinfo=UTC),
) -> Any:  # noqa: ANN401  # Airflow's Context
    """Return what Airflow hands to the execute() of a task in this DAG run, after validate."""
    dag_run = SimpleNamespace(
        dag_id="taxi_training",
        run_id=run_id,
        data_interval_end=interval_end,
        run_after=datetime(2015, 8, 17, 12, tzinfo=UTC),
        start_date=datetime(2015, 8, 17, 12, tzinfo=UTC),
        conf=dict(conf or {}),
    )
    given = dict(params or {})
    dag = SimpleNamespace(params=given)
    ti = Pushed(pin=lambda: Run.of(dag_run, given, SETTINGS | os.environ))
    return {"dag_run": dag_run, "dag": dag, "params": given, "ti": ti, "run_id": run_id}


def run_task(operator: BaseOperator, ctx: Any) -> Any:  # noqa: ANN401  # Airflow's Context; what XCom takes
    """Run an operator as worker and triggerer do: each trigger is built again from what it serializes."""
    try:
        return operator.execute(ctx)
    except TaskDeferred as deferred:
        waiting = deferred
    while True:
        event = asyncio.run(first_event(waiting.trigger))
        resume = getattr(operator, waiting.method_name)
        try:
            return resume(ctx, event=event, **(waiting.kwargs or {}))
        except TaskDeferred as deferred:
            waiting = deferred


async def first_event(trigger: Any) -> Any:  # noqa: ANN401  # Airflow's BaseTrigger; its event's payload
    """Build a trigger again from its serialized form and return the payload of its event."""
    _, arguments = trigger.serialize()
    again = type(trigger)(**json.loads(json.dumps(arguments)))
    async for event in again.run():
        return event.payload
    return None


@contextmanager
def killing(task: BaseOperator, when: Callable[[], bool]) -> Iterator[None]:
    """Kill a task as soon as `when` holds, beside the block that runs it."""

    def kill() -> None:
        wait_for(when)
        task.on_kill()

    beside = in_background(kill)
    yield
    beside.join()


def in_background(work: Any) -> threading.Thread:  # noqa: ANN401  # any callable
    """Run a test's second actor beside the first; join it."""
    thread = threading.Thread(target=work)
    thread.start()
    return thread
