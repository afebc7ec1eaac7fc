"""Builds small PipelineSpecs and keeps what an engine reports of them."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from local_vertex.domain.states import TERMINAL_RUN_STATES, TaskState
from local_vertex.images import ImageRule, ImageTable, container_environment
from local_vertex.processes.guarded import GuardedLauncher
from local_vertex.run.containers import Containers
from local_vertex.run.pipelines import LocalPipelineEngine
from local_vertex.run.ports import EngineSettings, PipelineRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_vertex.domain.records import ArtifactRecord, CachedExecution, Failure, TaskRecord
    from local_vertex.domain.states import RunState
    from local_vertex.run.containers import Launcher
    from local_vertex.run.ports import RunHistory, RunListener

T = TypeVar("T")

IMAGE = "test/python:latest"
BUCKET = "bucket"


def python_task(code: str, *args: str, **spec: Any) -> dict[str, Any]:  # noqa: ANN401  # IR JSON
    """Return a task, with its component and executor, that runs `code`; `spec` goes into the task."""
    component = spec.pop("component", {})
    container = {"image": IMAGE, "command": ["python", "-c", code], "args": list(args)}
    container |= spec.pop("container", {})
    return {"task": spec, "component": component, "executor": {"container": container}}


def pipeline_spec(tasks: dict[str, dict[str, Any]], **root: Any) -> dict[str, Any]:  # noqa: ANN401  # IR JSON
    """Return a PipelineSpec 2.1 of tasks made by `python_task`."""
    return {
        "schemaVersion": "2.1.0",
        "pipelineInfo": {"name": "test"},
        "components": {
            name: {"executorLabel": f"{name}-executor", **task["component"]} for name, task in tasks.items()
        },
        "deploymentSpec": {
            "executors": {f"{name}-executor": task["executor"] for name, task in tasks.items()}
        },
        "root": {
            "dag": {
                "tasks": {
                    name: {
                        "componentRef": {"name": name},
                        "taskInfo": {"name": name},
                        **task["task"],
                    }
                    for name, task in tasks.items()
                }
            },
            **root,
        },
    }


def pipeline_run(spec: dict[str, Any], job_id: str = "job", **changes: Any) -> PipelineRun:  # noqa: ANN401
    """Return a run of `spec` into gs://bucket/root."""
    values: dict[str, Any] = {
        "name": f"projects/1/locations/here/pipelineJobs/{job_id}",
        "job_id": job_id,
        "project": "local",
        "project_number": "1",
        "location": "here",
        "spec": spec,
        "parameter_values": {},
        "output_directory": f"gs://{BUCKET}/root",
        "fail_fast": False,
        "create_time": datetime(2026, 1, 2, tzinfo=UTC),
    }
    return PipelineRun(**{**values, **changes})


def engine_settings(folder: Path, **changes: Any) -> EngineSettings:  # noqa: ANN401
    """Return settings below `folder`."""
    (folder / "gcs" / BUCKET).mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {
        "state_dir": folder / "state",
        "gcs_root": folder / "gcs",
        "adopt": lambda _root, _path: None,
        "warm": False,
        "stop_grace": 1.0,
    }
    return EngineSettings(**{**values, **changes})


@dataclass
class JobRecorder:
    """A JobListener that remembers and waits."""

    states: list[RunState] = field(default_factory=list)
    error: Failure | None = None
    log_path: Path | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def job_changed(
        self, name: str, state: RunState, *, at: datetime, error: Failure | None, log_path: Path
    ) -> None:
        """Remember the state of a job."""
        del name, at
        self.states.append(state)
        self.error, self.log_path = error, log_path
        if state in TERMINAL_RUN_STATES:
            self.ended.set()

    def wait(self) -> RunState:
        """Return the final state."""
        if not self.ended.wait(30):
            raise TimeoutError
        return self.states[-1]

    def log(self) -> str:
        """Return what the job wrote."""
        return self.log_path.read_text() if self.log_path else ""


def image_table(*rules: ImageRule, **environment: str) -> ImageTable:
    """Return a table of `rules`, or of this interpreter only; every container gets `environment`."""
    own = ImageRule(image="test/*", interpreter=Path(sys.executable))
    return ImageTable(rules=rules or (own,), environment=container_environment(environment))


def plain_containers(images: ImageTable | None = None, launcher: Launcher | None = None) -> Containers:
    """Return a runner of containers as plain subprocesses, or with the test's own launcher."""
    reference = GuardedLauncher()
    return Containers(images=images or image_table(), launcher=launcher or reference, reference=reference)


def pipeline_engine(
    settings: EngineSettings,
    listener: RunListener,
    *,
    containers: Containers | None = None,
    history: RunHistory | None = None,
) -> LocalPipelineEngine:
    """Return an engine that remembers earlier runs for its lifetime, unless it is given a history."""
    return LocalPipelineEngine(
        settings=settings,
        listener=listener,
        history=history or VolatileHistory(),
        containers=containers or plain_containers(),
    )


@dataclass
class Recorder:
    """A RunListener that remembers everything and can wait for the end of a run."""

    states: dict[str, list[RunState]] = field(default_factory=dict)
    errors: dict[str, Failure | None] = field(default_factory=dict)
    tasks: dict[str, dict[str, TaskRecord]] = field(default_factory=dict)
    history: list[tuple[str, TaskState]] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def run_changed(self, name: str, state: RunState, *, at: datetime, error: Failure | None) -> None:
        """Remember the state of a run."""
        del at
        with self._changed:
            self.states.setdefault(name, []).append(state)
            self.errors[name] = error
            self._changed.notify_all()

    def task_changed(self, name: str, task: TaskRecord) -> None:
        """Remember the record of a task."""
        with self._changed:
            self.tasks.setdefault(name, {})[task.name] = task
            self.history.append((task.name, task.state))
            self._changed.notify_all()

    def wait(self, run: PipelineRun, seconds: float = 60.0) -> RunState:
        """Return the final state of `run`."""
        return self.until(lambda: self._final(run), seconds)

    def _final(self, run: PipelineRun) -> RunState | None:
        last = self.states.get(run.name, [None])[-1]
        return last if last in TERMINAL_RUN_STATES else None

    def until(self, condition: Callable[[], T | None], seconds: float = 60.0) -> T:
        """Return what `condition` returns once it is true."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not (found := condition()):
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"waited {seconds} s; heard {self.states} and {self.history}")
            return found

    def task_states(self, run: PipelineRun) -> dict[str, TaskState]:
        """Return the state of each task of `run`."""
        return {name: task.state for name, task in self.tasks[run.name].items()}


class VolatileHistory:
    """A RunHistory that ends with the test and knows executions only."""

    def __init__(self) -> None:
        self._executions: dict[str, CachedExecution] = {}

    def find_execution(self, key: str) -> CachedExecution | None:
        """Return what the last execution of that key produced, if there was one."""
        return self._executions.get(key)

    def keep_execution(self, key: str, execution: CachedExecution) -> None:
        """Keep what an execution produced, in place of an earlier one."""
        self._executions[key] = execution

    def artifacts(self, _pipeline: str, _schema_title: str) -> tuple[ArtifactRecord, ...]:
        """Return nothing: artifacts are not remembered."""
        return ()


class RecordedHistory(VolatileHistory):
    """The artifacts that the runs known to a recorder left behind."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def artifacts(self, pipeline: str, schema_title: str) -> tuple[ArtifactRecord, ...]:
        """Return the artifacts of a type, the newest first; runs are named after their pipelines."""
        tasks = [
            task
            for run, tasks in self._recorder.tasks.items()
            if run.rpartition("/")[2].startswith(f"{pipeline}-")
            for task in tasks.values()
            if task.state is TaskState.SUCCEEDED and task.end_time
        ]
        tasks.sort(key=lambda task: task.end_time or task.create_time)
        made = {a.name: a for task in tasks for records in task.outputs.values() for a in records}
        return tuple(a for a in reversed(made.values()) if a.schema_title == schema_title)
