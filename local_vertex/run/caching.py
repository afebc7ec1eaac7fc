"""Finds the earlier execution that a task would repeat. Like Vertex AI, it does not look at the bucket.

The key is made as Vertex AI makes it, from the pipeline's name, the component's specification (image,
command, arguments and environment as they are in the spec), its output definitions and its inputs:
parameters by value, artifacts by identity.
https://cloud.google.com/vertex-ai/docs/pipelines/configure-caching
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_vertex.domain.records import CachedExecution

if TYPE_CHECKING:
    from local_vertex.domain.records import TaskRecord
    from local_vertex.plan.plan import ContainerExecutor, Exec, PlannedTask
    from local_vertex.run.executor_input import TaskInputs
    from local_vertex.run.ports import ExecutionCache


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCache:
    """The earlier executions of the pipeline `pipeline`."""

    executions: ExecutionCache
    pipeline: str

    def find(
        self, task: PlannedTask, executor: ContainerExecutor, inputs: TaskInputs
    ) -> CachedExecution | None:
        """Return the outputs of an execution of the same key, whether its objects still exist or not."""
        if not task.cacheable:
            return None
        return self.executions.find_execution(cache_key(self.pipeline, task, executor, inputs))

    def keep(
        self, task: PlannedTask, executor: ContainerExecutor, inputs: TaskInputs, record: TaskRecord
    ) -> None:
        """Keep the outputs of `record`, a success, unless the task must not be cached."""
        if not task.cacheable:
            return
        produced = CachedExecution(outputs=record.outputs, output_parameters=record.output_parameters)
        self.executions.keep_execution(cache_key(self.pipeline, task, executor, inputs), produced)


def cache_key(pipeline: str, task: PlannedTask, executor: ContainerExecutor, inputs: TaskInputs) -> str:
    """Return the key, a SHA-256 in hexadecimal, of running `task` with `inputs`."""
    if task.cache_key:
        return _digest([pipeline, task.cache_key, sorted(task.output_artifacts)])
    return _digest(
        {
            "pipeline": pipeline,
            "image": executor.image,
            "main": _command(executor.main),
            "driver": executor.driver and _command(executor.driver),
            "env": {name: str(value) for name, value in executor.env.items()},
            "parameters": dict(inputs.parameters),
            "artifacts": {
                key: [record.name for record in records] for key, records in inputs.artifacts.items()
            },
            "output_artifacts": {
                key: [dict(declared.type_schema), dict(declared.metadata)]
                for key, declared in task.output_artifacts.items()
            },
            "output_parameters": {key: str(kind) for key, kind in task.output_parameters.items()},
        }
    )


def _command(command: Exec) -> list[str]:
    return [str(template) for template in (*command.command, *command.args)]


def _digest(content: Any) -> str:  # noqa: ANN401  # a JSON value
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
