"""The local cloud with Airflow, up, and clients for them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from demo.results import Reader
from local_gcp.airflow import AIRFLOW, login
from local_gcp.airflow_client import AirflowClient, AirflowError, RunState
from local_gcp.layout import Layout
from local_gcp.services import CLOUD
from local_gcp.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterable

_PARSE_SECONDS: Final = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Clients of servers that are up."""

    layout: Layout
    airflow: AirflowClient
    reader: Reader


def start(dag_ids: Iterable[str]) -> Servers:
    """Start what is not running, and wait until Airflow has parsed the DAGs."""
    layout = Layout.from_environment(os.environ)
    stack = Stack(layout, declarations=(*CLOUD, *AIRFLOW))
    stack.up()
    urls = {service.name: service.urls[0] for service in stack.status() if service.urls}
    airflow = AirflowClient(urls["airflow-api"])
    airflow.authenticate(*login(layout))
    for dag_id in dag_ids:
        airflow.await_dag(dag_id, deadline_seconds=_PARSE_SECONDS)
    reader = Reader(environment=stack.client_environment(), vertex_url=urls["vertex"])
    return Servers(layout=layout, airflow=airflow, reader=reader)


def check_success(airflow: AirflowClient, dag_id: str, run_id: str) -> None:
    """Raise AirflowError with the failed tasks and the end of their logs if a run did not succeed."""
    if airflow.run_state(dag_id, run_id) == RunState.SUCCESS:
        return
    failed = [task for task in airflow.task_instances(dag_id, run_id) if task.state == "failed"]
    logs = (f"\n{task.task_id}: {airflow.log(dag_id, run_id, task)[-2000:]}" for task in failed)
    names = ", ".join(task.task_id for task in failed)
    raise AirflowError(f"run {run_id} of {dag_id} failed in {names}{''.join(logs)}")
