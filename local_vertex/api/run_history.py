"""Results of pipeline runs that later runs may use: artifacts, and executions in the cache."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from local_vertex.api.messages import plain
from local_vertex.api.metadata import ARTIFACT, STORE_ID, Metadata
from local_vertex.domain.records import ArtifactRecord, CachedExecution

if TYPE_CHECKING:
    from local_vertex.api.messages import Message
    from local_vertex.api.region import Region

_CACHED = "cachedExecution"


class StoredHistory:
    """The engine's RunHistory over the store."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._metadata = Metadata(region)

    def find_execution(self, key: str) -> CachedExecution | None:
        """Return the outputs of the last execution of that key, if there was one."""
        body = self._region.store.find(_CACHED, key)
        return None if body is None else _execution(body)

    def keep_execution(self, key: str, execution: CachedExecution) -> None:
        """Keep the outputs of an execution, in place of an earlier one's; waits while the disk is full."""
        store = self._region.store
        body = json.dumps(asdict(execution)).encode()

        def write() -> None:
            with store.transaction():
                store.delete(_CACHED, key)
                store.insert(_CACHED, key, "", body)

        store.record(f"the outputs of execution {key}", write, final=True)

    def artifacts(self, pipeline: str, schema_title: str) -> tuple[ArtifactRecord, ...]:
        """Return the live artifacts of a type in the context of `pipeline`, the newest first."""
        context = f"{self._region.project.location}/metadataStores/{STORE_ID}/contexts/{pipeline}"
        names, _ = self._metadata.members(context)
        known = [artifact for name in names if (artifact := self._metadata.artifacts.find(name)) is not None]
        wanted = [
            artifact
            for artifact in known
            if artifact.schema_title == schema_title and artifact.state == ARTIFACT.State.LIVE
        ]
        wanted.sort(key=lambda artifact: artifact.create_time.ToNanoseconds(), reverse=True)
        return tuple(_record(artifact) for artifact in wanted)


def _record(artifact: Message) -> ArtifactRecord:
    return ArtifactRecord(
        name=artifact.name,
        uri=artifact.uri,
        schema_title=artifact.schema_title,
        type_schema={},
        metadata=plain(artifact.metadata),
    )


def _execution(body: bytes) -> CachedExecution:
    content = json.loads(body)
    outputs = {
        key: tuple(ArtifactRecord(**artifact) for artifact in artifacts)
        for key, artifacts in content["outputs"].items()
    }
    return CachedExecution(outputs=outputs, output_parameters=content["output_parameters"])
