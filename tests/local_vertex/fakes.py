"""An engine without children: it does what a test tells it, through the engine's own port."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from local_vertex.domain.errors import Code, FailedPrecondition, InvalidArgument, NotFound
from local_vertex.domain.records import ArtifactRecord, Failure, TaskRecord
from local_vertex.domain.states import RunState, TaskState
from local_vertex.plan.plan import Plan
from local_vertex.run.ports import AcceptedJob, AcceptedRun, ServerAddress

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_vertex.run.ports import (
        ContainerSpec,
        CustomRun,
        JobListener,
        PipelineRun,
        RunListener,
    )


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


class FakePipelineEngine:
    """Reports RUNNING at the start; a spec whose `pipelineInfo.name` is `refused` is refused."""

    def __init__(
        self, listener: RunListener, check: Callable[[PipelineRun], object] = lambda _run: None
    ) -> None:
        self.listener = listener
        self._check = check
        self.runs: list[PipelineRun] = []
        self.closed = False

    def accept(self, run: PipelineRun) -> AcceptedRun:
        """Refuse the pipeline that is called `refused`, and what `check` refuses."""
        self._check(run)
        if run.spec.get("pipelineInfo", {}).get("name") == "refused":
            raise InvalidArgument("task 'Trainer' needs 'Tuner', which does not exist")
        return AcceptedRun(run=run, plan=Plan(pipeline="", tasks={}), parameters={})

    def start(self, accepted: AcceptedRun) -> None:
        """Report that the run has begun."""
        run = accepted.run
        self.runs.append(run)
        self.listener.run_changed(run.name, RunState.RUNNING, at=now(), error=None)

    def cancel(self, name: str) -> None:
        """Report CANCELLING, then CANCELLED."""
        self.listener.run_changed(name, RunState.CANCELLING, at=now(), error=None)
        self.listener.run_changed(name, RunState.CANCELLED, at=now(), error=None)

    def close(self) -> None:
        """Note that the end was asked for."""
        self.closed = True

    def finish_task(
        self,
        name: str,
        task_name: str,
        state: TaskState = TaskState.SUCCEEDED,
        *,
        log_path: Path | None = None,
    ) -> TaskRecord:
        """Report a task with an output, and an error if it failed; return its record."""
        error = Failure(code=Code.INTERNAL, message=f"{task_name}: ZeroDivisionError, log: /logs/{task_name}")
        record = TaskRecord(
            task_id=1,
            name=task_name,
            state=state,
            create_time=now(),
            start_time=now(),
            end_time=now(),
            inputs={},
            outputs={
                "model": (
                    ArtifactRecord(
                        name="artifacts/1",
                        uri="gs://b/model",
                        schema_title="tfx.Model",
                        type_schema={"schemaTitle": "tfx.Model"},
                        metadata={"version": 3, "folder": "gs://b/serving"},
                    ),
                )
            },
            parameters={"steps": 300},
            error=error if state is TaskState.FAILED else None,
            log_path=log_path or Path(f"/logs/{task_name}"),
        )
        self.listener.task_changed(name, record)
        return record

    def end(self, name: str, state: RunState, error: Failure | None = None) -> None:
        """Report the end of a run."""
        self.listener.run_changed(name, state, at=now(), error=error)


class FakeCustomJobRunner:
    """Reports RUNNING at the start; image `unknown` is refused."""

    def __init__(self, listener: JobListener) -> None:
        self.listener = listener
        self.runs: list[CustomRun] = []
        self.closed = False

    def accept(self, run: CustomRun) -> AcceptedJob:
        """Refuse the image `unknown`."""
        if run.container.image == "unknown":
            raise InvalidArgument("image 'unknown' is not in the image table")
        return AcceptedJob(run=run, argv=run.container.command)

    def start(self, accepted: AcceptedJob) -> None:
        """Report that the job has begun."""
        run = accepted.run
        self.runs.append(run)
        self.report(run.name, RunState.RUNNING)

    def cancel(self, name: str) -> None:
        """Report CANCELLING, then CANCELLED."""
        self.report(name, RunState.CANCELLING)
        self.report(name, RunState.CANCELLED)

    def report(self, name: str, state: RunState, error: Failure | None = None) -> None:
        """Report a state."""
        self.listener.job_changed(name, state, at=now(), error=error, log_path=Path("/logs/job"))

    def close(self) -> None:
        """Note that the end was asked for."""
        self.closed = True


class FakeModelServers:
    """Answers `{"predictions": [<artifact uri>, …]}`; an artifact URI with `broken` does not start.

    An artifact URI with `slow` starts when `release` is set. `answer` is given instead, where it is set.
    """

    def __init__(self) -> None:
        self.models: dict[str, str] = {}
        self.containers: dict[str, ContainerSpec] = {}
        self.release = threading.Event()
        self.bodies: list[bytes] = []
        self.answer: bytes | None = None
        self._stopped: set[str] = set()

    def start(self, deployed_model_id: str, container: ContainerSpec, artifact_uri: str) -> ServerAddress:
        """Note the model, or fail as told by its artifact URI."""
        if "broken" in artifact_uri:
            raise FailedPrecondition("the model server ended with status 1: ImportError: no module 'x'")
        if "once" in artifact_uri and not self.release.is_set():
            raise FailedPrecondition("the model server ended with status 1: ImportError: no module 'x'")
        if "slow" in artifact_uri:
            self.release.wait(10)
        if deployed_model_id in self._stopped:
            raise FailedPrecondition("the model server was stopped")
        self.models[deployed_model_id] = artifact_uri
        self.containers[deployed_model_id] = container
        return ServerAddress(port=1, log_path=Path("/logs/server"))

    def stop(self, deployed_model_id: str) -> None:
        """Forget the model."""
        self._stopped.add(deployed_model_id)
        self.release.set()
        self.models.pop(deployed_model_id, None)

    def predict(self, deployed_model_id: str, body: bytes) -> tuple[int, bytes]:
        """Answer with the artifact URI for each instance; an instance without `fare_miles` is wrong."""
        if deployed_model_id not in self.models:
            raise NotFound(f"no server for deployed model '{deployed_model_id}'")
        self.bodies.append(body)
        if self.answer is not None:
            return 200, self.answer
        try:
            instances = json.loads(body)["instances"]
        except (ValueError, KeyError, TypeError):
            return 400, b'{"error": "the body is not {"instances": [...]}"}'
        if any(instance == {} for instance in instances):
            return 400, b'{"error": "instances[0]: feature \'pickup_area\' is missing"}'
        uri = self.models[deployed_model_id]
        return 200, json.dumps({"predictions": [uri for _ in instances]}).encode()

    def running(self) -> tuple[str, ...]:
        """Return the ids of the models."""
        return tuple(self.models)

    def close(self) -> None:
        """Forget all models."""
        self.models.clear()
