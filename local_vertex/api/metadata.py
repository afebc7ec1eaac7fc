"""The record of every run: its artifacts, executions and contexts, and the events that connect them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.cloud import aiplatform_v1

from local_vertex.api import task_records
from local_vertex.api.collection import Collection
from local_vertex.api.messages import set_time
from local_vertex.domain.names import PipelineJobName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local_vertex.api.messages import Message
    from local_vertex.api.region import Region
    from local_vertex.domain.records import TaskRecord

ARTIFACT = aiplatform_v1.Artifact.pb()
EXECUTION = aiplatform_v1.Execution.pb()
CONTEXT = aiplatform_v1.Context.pb()
SUBGRAPH = aiplatform_v1.LineageSubgraph.pb()
STORE_ID = "default"
_MEMBERS = aiplatform_v1.AddContextArtifactsAndExecutionsRequest.pb()
_EVENTS = aiplatform_v1.AddExecutionEventsRequest.pb()
_INPUT = int(aiplatform_v1.Event.Type.INPUT)
_OUTPUT = int(aiplatform_v1.Event.Type.OUTPUT)


class _Members(Collection):
    """The artifacts and executions of each context, as the request that would add them all."""

    def key(self, message: Message) -> str:
        return str(message.context)


class _Events(Collection):
    """The events of each execution, as the request that would add them all."""

    def key(self, message: Message) -> str:
        return str(message.execution)


def contexts_of(job: str, pipeline: str) -> tuple[Message, Message]:
    """Return the contexts of a job: that of its pipeline, and that of the run, whose parent it is."""
    name = PipelineJobName.parse(job)
    whole = _context(name, pipeline or "pipeline", "system.Pipeline")
    run = _context(name, name.id, "system.PipelineRun")
    run.parent_contexts.append(whole.name)
    return whole, run


def _context(job: PipelineJobName, context_id: str, schema_title: str) -> Message:
    return CONTEXT(
        name=f"{job.parent}/metadataStores/{STORE_ID}/contexts/{context_id}",
        display_name=context_id,
        schema_title=schema_title,
        schema_version="0.0.1",
    )


class Metadata:
    """The metadata store: written while runs make progress, kept when their jobs are deleted."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self.artifacts = Collection(region.store, ARTIFACT)
        self.executions = Collection(region.store, EXECUTION)
        self.contexts = Collection(region.store, CONTEXT)
        self._members = _Members(region.store, _MEMBERS, kind="ContextMembers")
        self._events = _Events(region.store, _EVENTS, kind="ExecutionEvents")

    def begin(self, job: str, pipeline: str) -> None:
        """Remember the contexts of a new job."""
        for context in contexts_of(job, pipeline):
            self._keep(self.contexts, context)

    def record(self, job: str, pipeline: str, task: TaskRecord) -> None:
        """Remember a task of a job: its execution, its artifacts and its part in the contexts."""
        name = PipelineJobName.parse(job)
        detail = task_records.to_detail(task, str(name.parent))
        with self._region.store.transaction():
            self._keep(self.executions, detail.execution)
            events = _EVENTS(execution=detail.execution.name)
            for field, kind in ((detail.inputs, _INPUT), (detail.outputs, _OUTPUT)):
                for key in sorted(field):
                    for artifact in field[key].artifacts:
                        self._keep_artifact(artifact, key, made=kind == _OUTPUT)
                        events.events.append(self._event(detail.execution, artifact, key, kind))
            _put(self._events, events, detail.execution.name)
            for context in contexts_of(job, pipeline):
                members = self._members.find(context.name) or _MEMBERS(context=context.name)
                _add(members.executions, [events.execution])
                _add(members.artifacts, [event.artifact for event in events.events])
                _put(self._members, members, context.name)

    def _keep_artifact(self, artifact: Message, key: str, *, made: bool) -> None:
        """Keep an artifact; one that a task only reads stays as its producer left it."""
        if made or self.artifacts.find(artifact.name) is None:
            artifact.display_name = key
            self._keep(self.artifacts, artifact)

    def _keep(self, collection: Collection, message: Message) -> None:
        now = self._region.clock()
        known = collection.find(message.name)
        if known is not None:
            message.create_time.CopyFrom(known.create_time)
        elif not message.HasField("create_time"):
            set_time(message.create_time, now)
        if not message.HasField("update_time"):
            set_time(message.update_time, now)
        _put(collection, message, message.name.rpartition("/")[0].rpartition("/")[0])

    def _event(self, execution: Message, artifact: Message, key: str, kind: int) -> Message:
        event = aiplatform_v1.Event.pb()(
            artifact=artifact.name, execution=execution.name, type_=kind, labels={"key": key}
        )
        event.event_time.CopyFrom(execution.update_time)
        return event

    def members(self, context: str) -> tuple[list[str], list[str]]:
        """Return the names of a context's artifacts and executions."""
        members = self._members.find(context)
        return (list(members.artifacts), list(members.executions)) if members else ([], [])

    def events(self, execution: str) -> list[Message]:
        """Return what an execution has read and made."""
        found = self._events.find(execution)
        return list(found.events) if found else []

    def all_events(self) -> list[Message]:
        """Return the events of all executions."""
        return [event for each in self._events.all() for event in each.events]


def _add(names: Message, more: Iterable[str]) -> None:
    names.extend(name for name in dict.fromkeys(more) if name not in set(names))


def _put(collection: Collection, message: Message, parent: str) -> None:
    if collection.find(collection.key(message)) is None:
        collection.insert(message, parent)
    else:
        collection.put(message)
