"""The record of a task, as text for the store and as PipelineTaskDetail for clients."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.cloud import aiplatform_v1

from local_vertex.api.messages import set_time, status_of, to_value
from local_vertex.domain.errors import Code
from local_vertex.domain.records import ArtifactRecord, Failure, TaskRecord
from local_vertex.domain.states import TaskState

if TYPE_CHECKING:
    from local_vertex.api.messages import Message
    from local_vertex.domain.records import ArtifactLists

_Detail = aiplatform_v1.PipelineTaskDetail
_Artifacts = _Detail.ArtifactList.pb()
_Execution = aiplatform_v1.Execution
_EXECUTION_STATES = {
    TaskState.PENDING: _Execution.State.NEW,
    TaskState.RUNNING: _Execution.State.RUNNING,
    TaskState.SUCCEEDED: _Execution.State.COMPLETE,
    TaskState.SKIPPED: _Execution.State.CACHED,
    TaskState.FAILED: _Execution.State.FAILED,
    TaskState.CANCELLED: _Execution.State.CANCELLED,
}
_TIMES = ("create_time", "start_time", "end_time")


def to_text(task: TaskRecord) -> str:
    """Return a record as JSON."""
    return json.dumps(
        asdict(task), default=lambda value: value.isoformat() if isinstance(value, datetime) else str(value)
    )


def from_text(text: str) -> TaskRecord:
    """Return the record that `to_text` wrote."""
    content: dict[str, Any] = json.loads(text)
    content["state"] = TaskState(content["state"])
    for name in _TIMES:
        content[name] = datetime.fromisoformat(content[name]) if content[name] else None
    for name in ("inputs", "outputs"):
        content[name] = {
            key: tuple(ArtifactRecord(**artifact) for artifact in artifacts)
            for key, artifacts in content[name].items()
        }
    error = content["error"]
    content["error"] = error and Failure(code=Code(error["code"]), message=error["message"])
    content["log_path"] = Path(content["log_path"]) if content["log_path"] else None
    content["notes"] = tuple(content.get("notes", ()))
    return TaskRecord(**content)


def to_detail(task: TaskRecord, location: str) -> Message:
    """Return a record as PipelineTaskDetail; `location` is the parent of its execution's name."""
    detail = _Detail.pb()(
        task_id=task.task_id,
        parent_task_id=task.parent,
        task_name=task.name,
        task_unique_name=task.name,
        state=int(getattr(_Detail.State, task.state)),
        execution=_execution(task, location),
    )
    for name in _TIMES:
        set_time(getattr(detail, name), getattr(task, name))
    if task.error is not None:
        detail.error.CopyFrom(status_of(task.error))
    _fill_artifacts(detail.inputs, task.inputs)
    _fill_artifacts(detail.outputs, task.outputs)
    # Vertex AI lists every state that a task has been in; here it is the last one.
    status = detail.pipeline_task_status.add(state=detail.state)
    set_time(status.update_time, task.end_time or task.start_time or task.create_time)
    if task.error is not None:
        status.error.CopyFrom(detail.error)
    return detail


def _fill_artifacts(field: Message, lists: ArtifactLists) -> None:
    for key, artifacts in lists.items():
        field[key].CopyFrom(_Artifacts(artifacts=[_artifact(artifact) for artifact in artifacts]))


def _artifact(record: ArtifactRecord) -> Message:
    message = aiplatform_v1.Artifact.pb()(
        name=record.name,
        uri=record.uri,
        schema_title=record.schema_title,
        state=int(aiplatform_v1.Artifact.State.LIVE),
    )
    message.metadata.update(record.metadata)
    return message


def _execution(task: TaskRecord, location: str) -> Message:
    """Return the execution, whose metadata holds parameters as Vertex AI names them, and the log."""
    message = _Execution.pb()(
        name=f"{location}/metadataStores/default/executions/{task.task_id}",
        display_name=task.name,
        schema_title="system.ContainerExecution",
        state=int(_EXECUTION_STATES.get(task.state, _Execution.State.STATE_UNSPECIFIED)),
    )
    metadata = {f"input:{key}": value for key, value in task.parameters.items()}
    metadata |= {f"output:{key}": value for key, value in task.output_parameters.items()}
    if task.log_path is not None:
        metadata["log_uri"] = task.log_path.as_uri()
    for key, value in metadata.items():
        message.metadata.fields[key].CopyFrom(to_value(value))
    set_time(message.create_time, task.create_time)
    set_time(message.update_time, task.end_time or task.start_time or task.create_time)
    return message
