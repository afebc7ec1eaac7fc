"""Runs pipeline jobs side by side within this machine's cores and memory."""

from __future__ import annotations

from threading import Lock, Thread
from typing import TYPE_CHECKING

from local_vertex.domain.clock import utc_now
from local_vertex.domain.errors import AlreadyExists, Unavailable
from local_vertex.domain.names import check_gcs_uri
from local_vertex.plan import parameters
from local_vertex.plan.plan import ContainerExecutor
from local_vertex.plan.planner import make_plan
from local_vertex.run.caching import TaskCache
from local_vertex.run.containers import CancelToken
from local_vertex.run.dispatch import Dispatcher
from local_vertex.run.pipeline_run import RunningPipeline
from local_vertex.run.ports import AcceptedRun
from local_vertex.run.task_runner import TaskRunner

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from local_vertex.run.containers import Containers
    from local_vertex.run.ports import EngineSettings, PipelineRun, RunHistory, RunListener


class LocalPipelineEngine:
    """Runs pipeline jobs as tasks in containers."""

    def __init__(
        self,
        *,
        settings: EngineSettings,
        listener: RunListener,
        history: RunHistory,
        containers: Containers,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._history = history
        self._containers = containers
        self._clock = clock
        self._dispatcher = Dispatcher(cores=settings.cores, memory=settings.memory)
        self._running: dict[str, RunningPipeline] = {}
        self._lock = Lock()
        self._closed = False

    def accept(self, run: PipelineRun) -> AcceptedRun:
        """Check and plan `run`, starting nothing; raises InvalidArgument or Unimplemented."""
        check_gcs_uri("runtimeConfig.gcsOutputDirectory", run.output_directory)
        plan = make_plan(run.spec)
        for task in plan.tasks.values():
            if isinstance(task.executor, ContainerExecutor):
                self._containers.images.rule(task.executor.image)
        values = parameters.bind(plan.parameters, run.parameter_values)
        return AcceptedRun(run=run, plan=plan, parameters=values)

    def start(self, accepted: AcceptedRun) -> None:
        """Start a run and return at once; raises AlreadyExists while it runs, Unavailable after `close`."""
        run = accepted.run
        pipeline = self._pipeline(accepted)
        with self._lock:
            if self._closed:
                raise Unavailable("the local Vertex AI is shutting down; start it again")
            if run.name in self._running:
                raise AlreadyExists(f"'{run.name}' is running")
            self._running[run.name] = pipeline
        Thread(target=self._execute, args=(pipeline,), name=run.job_id, daemon=True).start()

    def _pipeline(self, accepted: AcceptedRun) -> RunningPipeline:
        runner = TaskRunner(
            settings=self._settings,
            containers=self._containers,
            cache=TaskCache(executions=self._history, pipeline=accepted.plan.pipeline),
            catalog=self._history,
            token=CancelToken(self._settings.stop_grace),
            clock=self._clock,
        )
        return RunningPipeline(
            run=accepted.run,
            plan=accepted.plan,
            parameters=accepted.parameters,
            runner=runner,
            dispatcher=self._dispatcher,
            listener=self._listener,
            log_dir=self._settings.state_dir / "runs" / accepted.run.job_id,
        )

    def _execute(self, pipeline: RunningPipeline) -> None:
        try:
            pipeline.execute()
        finally:
            with self._lock:
                self._running.pop(pipeline.run.name, None)

    def cancel(self, name: str) -> None:
        """Ask the run to stop and return at once; no-op when it has ended."""
        with self._lock:
            pipeline = self._running.get(name)
        if pipeline:
            Thread(target=pipeline.cancel, name=f"cancel {name}", daemon=True).start()

    def close(self) -> None:
        """Stop everything; runs that are cut off are not reported, they begin again after a restart."""
        with self._lock:
            self._closed = True
            running = tuple(self._running.values())
        for pipeline in running:
            pipeline.abandon()
        self._dispatcher.close()
