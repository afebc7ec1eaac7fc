"""A client of Airflow's REST API for a developer's commands: trigger a run, watch it, read its results."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

REQUEST_TIMEOUT_SECONDS = 30
_DATABASE_ERROR = '"reason":"Database error"'


class RunState(StrEnum):
    """The final states of a DAG run."""

    SUCCESS = "success"
    FAILED = "failed"


class AirflowError(RuntimeError):
    """Airflow refused a request, or did not reach an expected state in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInstance:
    """A task of a DAG run as Airflow reports it; `duration` is in seconds."""

    task_id: str
    state: str | None
    try_number: int
    duration: float | None

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> TaskInstance:
        """Read one element of `taskInstances`."""
        return cls(
            task_id=body["task_id"],
            state=body["state"],
            try_number=body["try_number"],
            duration=body["duration"],
        )


@dataclass(frozen=True, slots=True)
class AirflowClient:
    """A client of one Airflow on this machine, which has the simple auth manager."""

    url: str
    _session: requests.Session = field(default_factory=requests.Session)

    def authenticate(self, user: str, password: str) -> None:
        """Fetch a token and send it from now on."""
        response = self._session.post(
            f"{self.url}/auth/token",
            json={"username": user, "password": password},
            timeout=REQUEST_TIMEOUT_SECONDS,
        )
        response.raise_for_status()
        self._session.headers["Authorization"] = f"Bearer {response.json()['access_token']}"

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a request to the public API, again if SQLite was locked: Airflow has then rolled it back.

        Raises:
            AirflowError: Airflow answered with an error, which is in the message.

        """
        until = time.monotonic() + REQUEST_TIMEOUT_SECONDS
        while True:
            response = self._session.request(
                method, f"{self.url}/api/v2/{path}", json=body, timeout=REQUEST_TIMEOUT_SECONDS
            )
            if _DATABASE_ERROR not in response.text or time.monotonic() > until:
                break
            time.sleep(0.5)
        if not response.ok:
            raise AirflowError(f"{method} {path}: {response.status_code} {response.text[:500]}")
        answer: dict[str, Any] = response.json()
        return answer

    def await_dag(self, dag_id: str, *, deadline_seconds: float) -> None:
        """Wait until the DAG is parsed.

        Raises:
            AirflowError: it was not in time; the message has the import errors.

        """
        until = time.monotonic() + deadline_seconds
        while time.monotonic() < until:
            if any(dag["dag_id"] == dag_id for dag in self.call("GET", "dags")["dags"]):
                return
            time.sleep(0.5)
        errors = self.call("GET", "importErrors")["import_errors"]
        raise AirflowError(
            f"DAG {dag_id} was not parsed in {deadline_seconds:.0f} s; import errors: {errors}"
        )

    def trigger(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        """Unpause the DAG, start a manual run with these params and return the run's id."""
        self.call("PATCH", f"dags/{dag_id}", {"is_paused": False})
        run = self.call("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": dict(conf)})
        return str(run["dag_run_id"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the DAG's latest 100 runs, newest first."""
        path = f"dags/{dag_id}/dagRuns?limit=100&order_by=-run_after"
        return list(self.call("GET", path)["dag_runs"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        return str(self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}")["state"])

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Return the run's tasks."""
        answer = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances")
        return [TaskInstance.parse(body) for body in answer["task_instances"]]

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:  # noqa: ANN401  # what a task returned
        """Return what a task returned."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.call("GET", f"{path}?deserialize=false")["value"]

    def links(self, dag_id: str, run_id: str, task_id: str) -> dict[str, str | None]:
        """Return the URLs of a task's links by the links' names."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/links"
        links: dict[str, str | None] = self.call("GET", path)["extra_links"]
        return links

    def log(self, dag_id: str, run_id: str, task: TaskInstance) -> str:
        """Return the log of the task's last try, one line per event."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task.task_id}/logs/{task.try_number}"
        events = self.call("GET", f"{path}?full_content=true")["content"]
        return "\n".join(_line(event) for event in events)

    def watch(
        self,
        dag_id: str,
        run_id: str,
        *,
        deadline_seconds: float,
        interval_seconds: float = 1.0,
        each: Callable[[], None] = lambda: None,
    ) -> Iterator[TaskInstance]:
        """Yield every state change of a task until the run ends, and call `each` after every poll.

        Raises:
            AirflowError: the run did not end in time.

        """
        seen: dict[str, TaskInstance] = {}
        until = time.monotonic() + deadline_seconds
        while time.monotonic() < until:
            ended = self.run_state(dag_id, run_id) in frozenset(RunState)
            for task in self.task_instances(dag_id, run_id):
                before = seen.get(task.task_id)
                if before is None or (before.state, before.try_number) != (task.state, task.try_number):
                    seen[task.task_id] = task
                    yield task
            each()
            if ended:
                return
            time.sleep(interval_seconds)
        raise AirflowError(
            f"run {run_id} of {dag_id} did not end in {deadline_seconds:.0f} s; see {self.url}"
        )


def _line(event: Mapping[str, Any]) -> str:
    detail = event.get("error_detail") or []
    causes = "".join(f" {cause.get('exc_type')}: {cause.get('exc_value')}" for cause in detail)
    return f"{event.get('event', '')}{causes}"
