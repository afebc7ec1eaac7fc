"""The record of a task: its state, times, artifacts, parameters and failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from local_vertex.domain.errors import Code
    from local_vertex.domain.states import TaskState


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The reason of a failure; `message` names task, root cause and log."""

    code: Code
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRecord:
    """One artifact: `name` is its unique resource name, `uri` starts with gs://.

    `type_schema` is the ArtifactTypeSchema as proto JSON (schemaTitle or instanceSchema),
    `schema_title` the title in it, for instance `tfx.Model`.
    """

    name: str
    uri: str
    schema_title: str
    type_schema: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)


ArtifactLists = Mapping[str, tuple[ArtifactRecord, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedExecution:
    """The outputs of an execution."""

    outputs: ArtifactLists
    output_parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """One task of a run as it is now; `parent` is the task id of the DAG that it belongs to (0: root).

    `notes` name the resources that it requests and does not get on this machine.
    """

    task_id: int
    name: str
    state: TaskState
    create_time: datetime
    parent: int = 0
    start_time: datetime | None = None
    end_time: datetime | None = None
    inputs: ArtifactLists = field(default_factory=dict)
    outputs: ArtifactLists = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    output_parameters: Mapping[str, Any] = field(default_factory=dict)
    error: Failure | None = None
    log_path: Path | None = None
    notes: tuple[str, ...] = ()
