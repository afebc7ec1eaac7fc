"""Runs pipeline jobs side by side, each of them through its plan."""

from __future__ import annotations

import re
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock, Thread, Timer
from typing import TYPE_CHECKING, Any

from local_vertex.domain.clock import utc_now
from local_vertex.domain.errors import AlreadyExists, Code, Unavailable
from local_vertex.domain.names import check_gcs_uri
from local_vertex.domain.records import Failure, TaskRecord
from local_vertex.domain.states import TERMINAL_RUN_STATES, RunState, TaskState
from local_vertex.plan import parameters
from local_vertex.plan.conditions import ConditionError
from local_vertex.plan.plan import ContainerExecutor
from local_vertex.plan.planner import make_plan
from local_vertex.run.caching import TaskCache
from local_vertex.run.capacity import asked_by, expected_cores, expected_memory
from local_vertex.run.containers import CancelToken
from local_vertex.run.dispatch import Dispatcher
from local_vertex.run.executor_input import numeric_id
from local_vertex.run.ports import AcceptedRun
from local_vertex.run.schedule import next_step
from local_vertex.run.task_inputs import Upstream
from local_vertex.run.task_runner import TaskRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from datetime import datetime
    from pathlib import Path

    from local_vertex.plan.plan import Plan, PlannedTask
    from local_vertex.run.containers import Containers
    from local_vertex.run.ports import EngineSettings, PipelineRun, RunHistory, RunListener

_UNSAFE = re.compile(r"[^\w.-]")


@dataclass(slots=True, kw_only=True)
class RunningPipeline:
    """A run under way; `dispatcher` bounds how many tasks of all runs execute at once."""

    run: PipelineRun
    plan: Plan
    parameters: Mapping[str, Any]
    runner: TaskRunner
    dispatcher: Dispatcher
    listener: RunListener
    log_dir: Path
    muted: bool = False
    _records: dict[str, TaskRecord] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)
    _reporting: Lock = field(default_factory=Lock)
    _ended: bool = False
    _late: bool = False

    def execute(self) -> None:
        """Run to the end; return once the listener has heard the final state."""
        timer = Timer(self.runner.settings.job_timeout, self._time_out)
        timer.daemon = True
        timer.start()
        try:
            self._report_run(RunState.RUNNING, None)
            finished = {record.task_id: record for record in self.run.finished}
            for name in self.plan.tasks:
                task_id = numeric_id(self.run.name, name)
                self._record(name, finished.get(task_id) or self._pending(name, task_id))
            self._follow_plan()
            state, failure = self._outcome()
        except Exception as error:  # noqa: BLE001  # the boundary of a run
            self.runner.token.cancel()
            failure = Failure(code=Code.INTERNAL, message=f"internal error of the local Vertex AI: {error!r}")
            state = RunState.FAILED
        finally:
            timer.cancel()
        self._report_run(state, failure)

    def _time_out(self) -> None:
        self._late = True
        self.runner.token.cancel()

    def cancel(self) -> None:
        """Report CANCELLING and end all containers; `execute` then reports CANCELLED."""
        self._report_run(RunState.CANCELLING, None)
        self.runner.token.cancel()

    def abandon(self) -> None:
        """End all containers without reporting anything more, because the server is shutting down."""
        self.muted = True
        self.runner.token.cancel()

    def _pending(self, name: str, task_id: int) -> TaskRecord:
        shown = name.rpartition(".")[2]
        return TaskRecord(
            task_id=task_id,
            name=shown,
            state=TaskState.PENDING,
            create_time=self.runner.clock(),
            log_path=self.log_dir / _UNSAFE.sub("_", name) / "log.txt",
        )

    def _follow_plan(self) -> None:
        working: dict[Future[TaskRecord], str] = {}
        started: set[str] = set()
        while True:
            ready = self._advance(started)
            for name in ready:
                working[self._submit(name)] = name
            if not working:
                return
            for future in wait(working, return_when=FIRST_COMPLETED).done:
                self._record(working.pop(future), future.result())

    def _advance(self, started: set[str]) -> list[str]:
        """Settle the tasks that need no container and return those to start now, most urgent first."""
        while True:
            states = {name: record.state for name, record in self._records.items()}
            step = next_step(self.plan, states, fail_fast=self.run.fail_fast)
            fresh = [name for name in step.start if name not in started]
            settled = [name for name in step.not_triggered if name not in started]
            for name in settled:
                cancelled = self.runner.token.cancelled
                self._end_untried(name, TaskState.CANCELLED if cancelled else TaskState.NOT_TRIGGERED)
            settled += [name for name in fresh if self._settle(name)]
            # Settling a task may start or rule out others: repeat until nothing changes.
            if not settled:
                started.update(fresh)
                return fresh

    def _settle(self, name: str) -> bool:
        """End a task that must not start, or that needs no container; return whether it has ended."""
        if self.runner.token.cancelled:
            self._end_untried(name, TaskState.CANCELLED)
            return True
        try:
            triggered = self._upstream().satisfies(self.plan.tasks[name])
        except ConditionError as error:
            failure = Failure(code=Code.FAILED_PRECONDITION, message=f"task '{name}' failed: {error}")
            self._end_untried(name, TaskState.FAILED, failure)
            return True
        if not triggered:
            self._end_untried(name, TaskState.NOT_TRIGGERED)
        elif not isinstance(self.plan.tasks[name].executor, ContainerExecutor):
            self._record(name, self._run_task(name))
        return self._records[name].state is not TaskState.PENDING

    def _end_untried(self, name: str, state: TaskState, failure: Failure | None = None) -> None:
        now = self.runner.clock()
        self._record(name, replace(self._records[name], state=state, end_time=now, error=failure))

    def _submit(self, name: str) -> Future[TaskRecord]:
        asked, settings = asked_by(self.plan.tasks[name]), self.runner.settings
        return self.dispatcher.submit(
            self.run.name,
            expected_memory(asked, settings),
            partial(self._run_task, name),
            cores=expected_cores(asked),
        )

    def _run_task(self, name: str) -> TaskRecord:
        task: PlannedTask = self.plan.tasks[name]
        upstream = self._upstream()
        return self.runner.run(task, upstream.records[name], upstream, self._report_task)

    def _upstream(self) -> Upstream:
        with self._lock:
            records = dict(self._records)
        return Upstream(run=self.run, parameters=self.parameters, records=records)

    def _record(self, name: str, record: TaskRecord) -> None:
        with self._lock:
            self._records[name] = record
        self._report_task(record)

    def _outcome(self) -> tuple[RunState, Failure | None]:
        if self._late:
            seconds = self.runner.settings.job_timeout
            message = f"The pipeline job did not end within its time limit of {seconds:g} s."
            return RunState.FAILED, Failure(code=Code.DEADLINE_EXCEEDED, message=message)
        if self.runner.token.cancelled:
            return RunState.CANCELLED, Failure(code=Code.CANCELLED, message="The pipeline job was cancelled.")
        failed = [record for record in self._records.values() if record.state is TaskState.FAILED]
        if not failed:
            return RunState.SUCCEEDED, None
        # The earliest failure comes first: later ones may be its consequences.
        failed.sort(key=lambda record: record.end_time or record.create_time)
        names = ", ".join(record.name for record in failed)
        causes = " ".join(record.error.message for record in failed if record.error)
        message = f"The DAG failed because some tasks failed. The failed tasks are: [{names}]. {causes}"
        return RunState.FAILED, Failure(code=Code.FAILED_PRECONDITION, message=message)

    def _report_run(self, state: RunState, failure: Failure | None) -> None:
        """Report a state, but nothing after a final one: a cancellation may race with the end."""
        with self._reporting:
            if self.muted or self._ended:
                return
            self.listener.run_changed(self.run.name, state, at=self.runner.clock(), error=failure)
            self._ended = state in TERMINAL_RUN_STATES

    def _report_task(self, record: TaskRecord) -> None:
        if not self.muted:
            self.listener.task_changed(self.run.name, record)


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
        """Stop the run without waiting for its end; no-op when it has ended."""
        with self._lock:
            pipeline = self._running.get(name)
        if pipeline:
            # In a thread of its own: containers may take their grace, and callers do not wait for that.
            Thread(target=pipeline.cancel, name=f"cancel {name}", daemon=True).start()

    def close(self) -> None:
        """Stop everything; runs that are cut off are not reported, and begin again after a restart."""
        with self._lock:
            self._closed = True
            running = tuple(self._running.values())
        for pipeline in running:
            pipeline.abandon()
        self._dispatcher.close()
