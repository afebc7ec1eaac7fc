"""Runs one task to its end: resolve inputs, launch driver and executor, merge and publish outputs."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from local_vertex.domain.errors import Code, VertexError
from local_vertex.domain.records import ArtifactRecord, Failure
from local_vertex.domain.states import TaskState
from local_vertex.plan.plan import ImporterExecutor, ResolverExecutor
from local_vertex.run.capacity import NOTE, asked_by, unmet
from local_vertex.run.containers import CancelledError, ContainerLostError, Launch
from local_vertex.run.executor_input import (
    OUTPUT_FILE,
    ExecutorOutput,
    OutputError,
    imported_artifact_name,
    merge_artifacts,
    parse_output_parameter,
    planned_outputs,
    typed_parameters,
)
from local_vertex.run.rendering import Rendering
from local_vertex.run.resolver import answer
from local_vertex.run.root_cause import explain_exit
from local_vertex.run.task_folder import TaskFolder
from local_vertex.run.task_inputs import text_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from local_vertex.domain.records import CachedExecution, TaskRecord
    from local_vertex.plan.plan import ContainerExecutor, Exec, PlannedTask
    from local_vertex.run.caching import TaskCache
    from local_vertex.run.containers import CancelToken, Containers, Launcher
    from local_vertex.run.executor_input import (
        TaskInputs,
        TaskOutputs,
    )
    from local_vertex.run.ports import ArtifactCatalog, EngineSettings, PipelineRun
    from local_vertex.run.task_inputs import Upstream

# Artifacts of these types are files; executors expect the folder of any other TFX artifact to exist.
_VALUE_ARTIFACTS = frozenset(
    {"tfx.Boolean", "tfx.Bytes", "tfx.Float", "tfx.Integer", "tfx.JsonValue", "tfx.String"}
)
_KFP_TYPES = ("system.", "google.")


class TaskFailedError(Exception):
    """The task's command failed; the message is the root cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRunner:
    """Runs the tasks of one run, with all that they share."""

    settings: EngineSettings
    containers: Containers
    cache: TaskCache
    catalog: ArtifactCatalog
    token: CancelToken
    clock: Callable[[], datetime]

    def run(
        self, task: PlannedTask, record: TaskRecord, upstream: Upstream, report: Callable[[TaskRecord], None]
    ) -> TaskRecord:
        """Run `task` and return its final record; `report` hears of the record once it is running."""
        running = replace(record, state=TaskState.RUNNING, start_time=self.clock())
        try:
            self.token.check()
            inputs = upstream.inputs(task)
            running = replace(
                running,
                inputs=inputs.artifacts,
                parameters=inputs.parameters,
                notes=unmet(asked_by(task), self.settings),
            )
            report(running)
            done = self._execute(task, running, inputs, upstream)
            skipped = done.state is TaskState.SKIPPED
            return self._finished(done, TaskState.SKIPPED if skipped else TaskState.SUCCEEDED)
        except CancelledError:
            return self._finished(running, TaskState.CANCELLED)
        except (TaskFailedError, OutputError, VertexError) as error:
            return self._failed(running, str(error))
        except Exception as error:  # noqa: BLE001  # the boundary of a task
            return self._failed(running, f"internal error of the local Vertex AI: {error!r}")

    def _finished(self, record: TaskRecord, state: TaskState) -> TaskRecord:
        return replace(record, state=state, end_time=self.clock())

    def _failed(self, record: TaskRecord, cause: str) -> TaskRecord:
        if self.token.cancelled:
            return self._finished(record, TaskState.CANCELLED)
        message = f"task '{record.name}' failed: {cause}; log: {record.log_path}"
        failure = Failure(code=Code.FAILED_PRECONDITION, message=message)
        return replace(self._finished(record, TaskState.FAILED), error=failure)

    def _execute(
        self, task: PlannedTask, record: TaskRecord, inputs: TaskInputs, upstream: Upstream
    ) -> TaskRecord:
        if isinstance(task.executor, ImporterExecutor):
            return _import(task, task.executor, record, upstream)
        if isinstance(task.executor, ResolverExecutor):
            return self._resolve(task, task.executor, record, inputs)
        attempt = _Attempt(
            runner=self,
            task=task,
            executor=task.executor,
            record=record,
            inputs=inputs,
            upstream=upstream,
            folder=self._folder(record, upstream.run),
        )
        return self._with_retries(attempt)

    def _resolve(
        self, task: PlannedTask, resolver: ResolverExecutor, record: TaskRecord, inputs: TaskInputs
    ) -> TaskRecord:
        """Return the record with the artifacts that the queries find, in the component's declared types."""
        outputs = {}
        for key, query in resolver.queries.items():
            found = answer(self.catalog, self.cache.pipeline, query.filter, query.limit, inputs)
            declared = task.output_artifacts[key].type_schema
            outputs[key] = tuple(replace(artifact, type_schema=declared) for artifact in found)
        return replace(record, outputs=outputs)

    def _folder(self, record: TaskRecord, run: PipelineRun) -> TaskFolder:
        root = f"{run.output_directory.rstrip('/')}/{run.project_number}/{run.job_id}"
        return TaskFolder(
            uri=f"{root}/{record.name}_{record.task_id}",
            gcs_root=self.settings.gcs_root,
            staging_root=self.settings.state_dir / "staging",
        )

    def _with_retries(self, attempt: _Attempt) -> TaskRecord:
        policy, pause = attempt.task.retry, attempt.task.retry.backoff
        for _ in range(policy.max_retries):
            try:
                return attempt.run()
            except (TaskFailedError, OutputError):
                self.token.sleep(pause)
                pause = min(pause * policy.factor, policy.max_backoff)
        return attempt.run()


def _import(
    task: PlannedTask, importer: ImporterExecutor, record: TaskRecord, upstream: Upstream
) -> TaskRecord:
    uri = upstream.value(importer.uri)
    key = next(iter(task.output_artifacts), "result")
    run = upstream.run
    planned = planned_outputs(run, task, run.output_directory).artifacts[key][0]
    imported = ArtifactRecord(
        name=planned.name,
        uri=str(uri),
        schema_title=importer.artifact.schema_title or planned.schema_title,
        type_schema=importer.artifact.type_schema or planned.type_schema,
        metadata={**planned.metadata, **importer.artifact.metadata},
    )
    if not importer.reimport:
        imported = replace(imported, name=imported_artifact_name(run, imported))
    return replace(record, outputs={key: (imported,)})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """One container task, ready to be tried."""

    runner: TaskRunner
    task: PlannedTask
    executor: ContainerExecutor
    record: TaskRecord
    inputs: TaskInputs
    upstream: Upstream
    folder: TaskFolder

    @property
    def log_path(self) -> Path:
        """The log of driver and executor."""
        if self.record.log_path is None:
            raise TaskFailedError("its record names no log")
        return self.record.log_path

    def run(self) -> TaskRecord:
        """Run driver and executor and return the record with the outputs, which are objects by then.

        As on Vertex AI, the driver runs first, because its results are part of the cache key.
        """
        # File systems stamp files with a coarser clock than this one, so that a file written at once may
        # seem older than the start: a second is more than any of them lags behind.
        started = time.time() - 1.0
        self.folder.create()
        outputs = planned_outputs(self.upstream.run, self.task, self.folder.uri)
        self._make_folders(outputs)
        cache, cached = self.runner.cache, None
        try:
            inputs, outputs = self._drive(self.inputs, outputs)
            cached = cache.find(self.task, self.executor, inputs)
            done = self._skip(inputs, cached) if cached else self._perform(inputs, outputs)
        finally:
            self._publish(started)
        if cached is None:
            cache.keep(self.task, self.executor, inputs, done)
        return done

    def _skip(self, inputs: TaskInputs, cached: CachedExecution) -> TaskRecord:
        self.folder.discard()
        return replace(
            self.record,
            state=TaskState.SKIPPED,
            parameters=inputs.parameters,
            outputs=cached.outputs,
            output_parameters=cached.output_parameters,
            log_path=self.log_path if self.log_path.exists() else None,
            notes=(),
        )

    def _perform(self, inputs: TaskInputs, outputs: TaskOutputs) -> TaskRecord:
        self._launch(self.executor.main, inputs, outputs)
        written = self._written()
        parameters = typed_parameters(
            self.task.output_parameters, {**self._parameter_files(), **written.parameters}
        )
        return replace(
            self.record,
            parameters=inputs.parameters,
            outputs=merge_artifacts(outputs.artifacts, written),
            output_parameters=parameters,
        )

    def _make_folders(self, outputs: TaskOutputs) -> None:
        for key, (planned,) in outputs.artifacts.items():
            if planned.schema_title not in _VALUE_ARTIFACTS and not planned.schema_title.startswith(
                _KFP_TYPES
            ):
                (self.folder.staged / key).mkdir()

    def _drive(self, inputs: TaskInputs, outputs: TaskOutputs) -> tuple[TaskInputs, TaskOutputs]:
        """Run the driver hook, if there is one, and return inputs and outputs as it changed them."""
        if self.executor.driver is None:
            return inputs, outputs
        self._launch(self.executor.driver, inputs, outputs)
        written = self._written()
        # The executor writes the same file, and may write none.
        self._output_path.unlink(missing_ok=True)
        return (
            replace(inputs, parameters={**inputs.parameters, **written.parameters}),
            replace(outputs, artifacts=merge_artifacts(outputs.artifacts, written)),
        )

    @property
    def _output_path(self) -> Path:
        return self.folder.staged / OUTPUT_FILE

    def _written(self) -> ExecutorOutput:
        if not self._output_path.exists():
            return ExecutorOutput(artifacts={}, parameters={})
        return ExecutorOutput.parse(self.folder.to_gcs(self._output_path.read_text()))

    def _parameter_files(self) -> dict[str, Any]:
        found = {}
        for key, kind in self.task.output_parameters.items():
            path = self.folder.staged / key
            if path.is_file():
                found[key] = parse_output_parameter(self.folder.to_gcs(path.read_text()), kind)
        return found

    def _launch(self, command: Exec, inputs: TaskInputs, outputs: TaskOutputs) -> None:
        if self.record.notes and not self.log_path.exists():
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
            self.log_path.write_text("".join(f"{NOTE}{note}\n" for note in self.record.notes))
        try:
            code = self._run_with(self.runner.containers.launcher, command, inputs, outputs)
        except ContainerLostError:
            # What the lost container has written must not be taken for outputs of the next one.
            self.folder.create()
            self._make_folders(outputs)
            code = self._run_with(self.runner.containers.reference, command, inputs, outputs)
        self.runner.token.check()
        if code != 0:
            raise TaskFailedError(explain_exit(code, self.log_path))

    def _run_with(self, launcher: Launcher, command: Exec, inputs: TaskInputs, outputs: TaskOutputs) -> int:
        text = Rendering(
            upstream=self.upstream,
            task=self.record.name,
            folder=self.folder,
            inputs=inputs,
            outputs=outputs,
            tfx=self.executor.tfx,
        )
        argv = tuple(text.of(template) for template in (*command.command, *command.args))
        env = {key: text.of(template) for key, template in self.executor.env.items()}
        launch = Launch.of(self.runner.containers.images, self.executor.image, argv, env, self.log_path)
        seconds = self.runner.settings.task_timeout
        try:
            return self.runner.token.run(launcher, launch, seconds=seconds)
        except TimeoutError as error:
            raise TaskFailedError(f"it did not end within its time limit of {seconds:g} s") from error

    def _publish(self, started: float) -> None:
        """Register all written files as objects, even after a failure: stray files break listings."""
        if not self.folder.staged.exists():
            return
        adopt, root = self.runner.settings.adopt, self.folder.gcs_root
        self.folder.publish(adopt)
        # Only TFX is given folders of the object store in its parameters; see rendering.
        if not self.executor.tfx:
            return
        texts = [text_of(value) for value in self.inputs.parameters.values()]
        for written in self.folder.written_elsewhere("\n".join(texts), started):
            adopt(root, written)
