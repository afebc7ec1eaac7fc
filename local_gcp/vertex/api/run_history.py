"""What pipeline runs left in the store for later runs: artifacts, and executions that need no repeating."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from local_gcp.vertex.api import task_records
from local_gcp.vertex.api.pipeline_jobs import JOB, pipeline_name
from local_gcp.vertex.api.resources import Collection
from local_gcp.vertex.domain.records import ArtifactRecord, CachedExecution
from local_gcp.vertex.domain.states import TaskState

if TYPE_CHECKING:
    from local_gcp.vertex.api.region import Region
    from local_gcp.vertex.domain.records import TaskRecord

_CACHED = "cachedExecution"


class StoredHistory:
    """The engine's RunHistory over the store."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._jobs = Collection(region.store, JOB)

    def find_execution(self, key: str) -> CachedExecution | None:
        """Return what the last execution of that key produced, if there was one."""
        body = self._region.store.find(_CACHED, key)
        return None if body is None else _execution(body)

    def keep_execution(self, key: str, execution: CachedExecution) -> None:
        """Keep what an execution produced, in place of an earlier one."""
        store = self._region.store
        body = json.dumps(asdict(execution)).encode()
        with store.transaction():
            store.delete(_CACHED, key)
            store.insert(_CACHED, key, "", body)

    def artifacts(self, pipeline: str, schema_title: str) -> tuple[ArtifactRecord, ...]:
        """Return the artifacts of a type that runs of `pipeline` made, the newest first."""
        made = {
            artifact.name: artifact
            for task in self._made_by(pipeline)
            for artifacts in task.outputs.values()
            for artifact in artifacts
            if artifact.schema_title == schema_title
        }
        return tuple(reversed(made.values()))

    def _made_by(self, pipeline: str) -> list[TaskRecord]:
        """Return the tasks that succeeded, the first to end first: who hands an artifact on comes later."""
        texts = [
            text
            for job in self._jobs.all()
            if pipeline_name(job) == pipeline
            for text in self._region.store.tasks(job.name)
        ]
        tasks = [task_records.from_text(text) for text in texts]
        made = [task for task in tasks if task.state is TaskState.SUCCEEDED]
        return sorted(made, key=lambda task: task.end_time or task.create_time)


def _execution(body: bytes) -> CachedExecution:
    content = json.loads(body)
    outputs = {
        key: tuple(ArtifactRecord(**artifact) for artifact in artifacts)
        for key, artifacts in content["outputs"].items()
    }
    return CachedExecution(
        outputs=outputs, output_parameters=content["output_parameters"], contents=content["contents"]
    )
