"""What pipeline runs left in the store for later runs: executions that need no repeating."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from local_gcp.vertex.domain.records import ArtifactRecord, CachedExecution

if TYPE_CHECKING:
    from local_gcp.vertex.api.region import Region

_CACHED = "cachedExecution"


class StoredHistory:
    """The engine's RunHistory over the store."""

    def __init__(self, region: Region) -> None:
        self._region = region

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


def _execution(body: bytes) -> CachedExecution:
    content = json.loads(body)
    outputs = {
        key: tuple(ArtifactRecord(**artifact) for artifact in artifacts)
        for key, artifacts in content["outputs"].items()
    }
    return CachedExecution(
        outputs=outputs, output_parameters=content["output_parameters"], contents=content["contents"]
    )
