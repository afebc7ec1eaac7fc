"""The kill of a deferred task, distinguished from the handover of its trigger to another triggerer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow.sdk import TaskInstanceState
from airflow.sdk.execution_time.xcom import XCom

if TYPE_CHECKING:
    from airflow.executors.workloads.task import TaskInstanceDTO

# The XCom that holds the number of a task's deferred try. Airflow deletes it when the next try starts.
WAITING_TRY: Final = "waiting_try"


def waits_elsewhere(task: TaskInstanceDTO) -> bool:
    """Return whether this try of the task is still deferred, so that another triggerer waits for its job.

    A triggerer whose heartbeat was late finds that its triggers were given to another one, and calls their
    `on_kill` as if a person had acted on the tasks. A cleared task may be deferred again by its next try, so
    the try is compared as well.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415  # 0.3 s

    key = task.task_id if task.map_index < 0 else f"{task.task_id}_{task.map_index}"
    states = RuntimeTaskInstance.get_task_states(
        dag_id=task.dag_id, map_index=task.map_index, task_ids=[task.task_id], run_ids=[task.run_id]
    )
    if states.get(task.run_id, {}).get(key) != TaskInstanceState.DEFERRED:
        return False
    waiting: object = XCom.get_one(
        key=WAITING_TRY,
        dag_id=task.dag_id,
        task_id=task.task_id,
        run_id=task.run_id,
        map_index=task.map_index,
    )
    return waiting == task.try_number
