"""Gives the inputs of a task their values: from the spec, the run's parameters and other tasks' outputs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_vertex.domain.errors import Code
from local_vertex.domain.states import TaskState
from local_vertex.plan.conditions import ConditionError
from local_vertex.plan.parameters import coerce
from local_vertex.plan.placeholders import Kind
from local_vertex.plan.plan import (
    Constant,
    Embedded,
    FinalStatus,
    ParameterType,
    RunParameter,
    TaskOutput,
)
from local_vertex.run.executor_input import OutputError, TaskInputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_vertex.domain.records import ArtifactRecord, TaskRecord
    from local_vertex.plan.placeholders import Placeholder
    from local_vertex.plan.plan import (
        Condition,
        ParameterSource,
        PlannedTask,
    )
    from local_vertex.run.ports import PipelineRun

# The fields in which conditions of schema 2.0 read a parameter; all other types are strings there.
_KINDS = {int: "int_value", float: "double_value"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Everything a task can read: the run, its parameters, and the records of all tasks by name."""

    run: PipelineRun
    parameters: Mapping[str, Any]
    records: Mapping[str, TaskRecord]

    def inputs(self, task: PlannedTask) -> TaskInputs:
        """Return the values of the inputs of `task`, whose dependencies have ended.

        Raises OutputError when an upstream task succeeded without writing an output that is read here.
        """
        plain = {
            key: self._typed(task, key, self.value(source))
            for key, source in task.parameters.items()
            if not isinstance(source, Embedded)
        }
        embedded = {
            key: source.template.render(lambda placeholder: self._embedded(placeholder, plain, task))
            for key, source in task.parameters.items()
            if isinstance(source, Embedded)
        }
        artifacts = {key: self._produced(source) for key, source in task.artifacts.items()}
        return TaskInputs(
            parameters={key: value for key, value in {**plain, **embedded}.items() if value is not None},
            artifacts=artifacts,
        )

    def satisfies(self, task: PlannedTask) -> bool:
        """Return whether all conditions of `task` hold; raises ConditionError for one without a value."""
        return all(self._holds(condition) for condition in task.conditions)

    def _holds(self, condition: Condition) -> bool:
        artifacts = {
            key: {
                "artifacts": [
                    {"name": record.name, "uri": record.uri, "metadata": dict(record.metadata)}
                    for record in self._produced(source)
                ]
            }
            for key, source in condition.artifacts.items()
        }
        try:
            values = {key: self.value(source) for key, source in condition.parameters.items()}
            typed = {key: {_KINDS.get(type(value), "string_value"): value} for key, value in values.items()}
            held = condition.expression.value_of(
                {"artifacts": artifacts, "parameter_values": values, "parameters": typed}
            )
        except (ConditionError, OutputError) as error:
            raise ConditionError(f"its condition {condition.text!r} has no value: {error}") from error
        if not isinstance(held, bool):
            raise ConditionError(f"its condition {condition.text!r} is {held!r}, neither true nor false")
        return held

    def _produced(self, source: TaskOutput) -> tuple[ArtifactRecord, ...]:
        return self.records[source.task].outputs.get(source.key, ())

    def value(self, source: ParameterSource) -> Any:  # noqa: ANN401  # a JSON value
        """Return the value of a parameter's source."""
        match source:
            case Constant(value=value):
                return value
            case RunParameter(name=name):
                return self.parameters[name]
            case TaskOutput(task=task, key=key):
                outputs = self.records[task].output_parameters
                if key not in outputs:
                    raise OutputError(f"task '{task}' ended without writing its output parameter '{key}'")
                return outputs[key]
            case FinalStatus():
                return self._final_status(source)
            case Embedded(template=template):
                return template.render(lambda placeholder: self.run_field(placeholder.field))
        raise TypeError(f"{source!r} is not a source of a parameter")

    def run_field(self, field: str, task: str = "") -> str:
        """Return the value of a placeholder like `{{$.pipeline_job_name}}`."""
        return {
            "pipeline_job_name": self.run.job_id,
            "pipeline_job_resource_name": self.run.name,
            "pipeline_job_uuid": self.run.job_id,
            "pipeline_task_name": task,
            "pipeline_task_uuid": task,
            "pipeline_root": self.run.output_directory,
            "pipeline_job_create_time_utc": self.run.create_time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "pipeline_google_cloud_project_id": self.run.project,
            "pipeline_google_cloud_location": self.run.location,
        }[field]

    def _typed(self, task: PlannedTask, key: str, value: Any) -> Any:  # noqa: ANN401  # a JSON value
        declared = task.parameter_definitions.get(key)
        if declared is None or value is None:
            return value
        if isinstance(task.parameters[key], TaskOutput):
            # Typed by its producer; TFX declares every dynamic execution property as a STRING.
            return value
        if declared.type is ParameterType.STRING and isinstance(value, dict):
            return json.dumps(value)
        return coerce(value, declared.type, f"input '{key}' of task '{task.name}'")

    def _embedded(self, placeholder: Placeholder, plain: Mapping[str, Any], task: PlannedTask) -> str:
        if placeholder.kind is Kind.RUN:
            return self.run_field(placeholder.field, task.name)
        value = plain.get(placeholder.key)
        if value is None:
            raise OutputError(f"'{placeholder.text}' has no value")
        return text_of(value)

    def _final_status(self, source: FinalStatus) -> dict[str, Any]:
        """Return a PipelineTaskFinalStatus as JSON."""
        failed = [
            record
            for name, record in sorted(self.records.items())
            if name in source.tasks and record.state is TaskState.FAILED
        ]
        status: dict[str, Any] = {
            "state": "FAILED" if failed else "SUCCEEDED",
            "pipelineJobResourceName": self.run.name,
            "pipelineTaskName": source.of,
            "error": {},
        }
        if failed:
            message = failed[0].error.message if failed[0].error else failed[0].name
            status["error"] = {"code": int(Code.FAILED_PRECONDITION), "message": message}
        return status


def text_of(value: Any) -> str:  # noqa: ANN401  # a JSON value
    """Return a parameter as a placeholder renders it: strings unquoted, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
