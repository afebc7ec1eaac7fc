"""The content of the local Google Cloud, seen from outside: REST answers and files on disk."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import requests

from local_gcp.layout import PROJECT, REGION
from local_vertex.gcs_objects import ATTRIBUTE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TIMEOUT_SECONDS: Final = 60
_ENDED: Final = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})
_BUCKET_FILES: Final = ".bucketMetadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A pipeline job or custom job; `end` is None while it runs."""

    name: str
    state: str
    attempt: int
    created: datetime
    end: datetime | None

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Job:
        """Read one job of a list."""
        end = body.get("endTime")
        return cls(
            name=body["name"],
            state=body.get("state", "").rpartition("STATE_")[2],
            attempt=int(body.get("labels", {}).get("attempt", "0")),
            created=datetime.fromisoformat(body["createTime"]),
            end=datetime.fromisoformat(end) if end else None,
        )

    @property
    def ended(self) -> bool:
        """True if its state is final."""
        return self.state in _ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The endpoint: its traffic split, and the artifact behind each deployed model."""

    split: Mapping[str, int]
    artifacts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Cloud:
    """A reader of one local cloud."""

    vertex_url: str
    storage_url: str
    gcs_root: Path

    def pipeline_jobs(self) -> list[Job]:
        """Return all pipeline jobs."""
        return [Job.parse(body) for body in self._list("pipelineJobs")]

    def custom_jobs(self) -> list[Job]:
        """Return all custom jobs."""
        return [Job.parse(body) for body in self._list("customJobs")]

    def versions(self) -> dict[str, str]:
        """Return the artifact of every model version, by name with version."""
        found = {}
        for model in self._list("models"):
            for body in self._get(f"{model['name']}:listVersions?pageSize=1000").get("models", []):
                name = f"{body['name'].partition('@')[0]}@{body['versionId']}"
                found[name] = body.get("artifactUri", "")
        return found

    def endpoints(self) -> list[Serving]:
        """Return all endpoints."""
        versions = self.versions()
        return [
            Serving(
                split={key: int(share) for key, share in body.get("trafficSplit", {}).items()},
                artifacts={
                    each["id"]: versions.get(
                        f"{each['model'].partition('@')[0]}@{each['modelVersionId']}", ""
                    )
                    for each in body.get("deployedModels", [])
                },
            )
            for body in self._list("endpoints")
        ]

    def unfinished_operations(self) -> list[str]:
        """Return the names of operations that are not done."""
        operations = self._get(f"projects/{PROJECT}/locations/{REGION}/operations?pageSize=1000")
        return [each["name"] for each in operations.get("operations", []) if not each.get("done")]

    def empty_endpoints(self) -> None:
        """Delete all endpoints with their deployed models, after their operations have ended."""
        for operation in self.unfinished_operations():
            self._wait({"name": operation})
        for body in self._list("endpoints"):
            for each in body.get("deployedModels", []):
                order = {"deployedModelId": each["id"], "trafficSplit": {}}
                self._wait(self._send("POST", f"{body['name']}:undeployModel", order))
            self._wait(self._send("DELETE", body["name"], None))

    def read_json(self, uri: str) -> dict[str, Any]:
        """Return an object of Cloud Storage that holds JSON."""
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        url = f"{self.storage_url}/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media"
        answer = requests.get(url, timeout=_TIMEOUT_SECONDS)
        answer.raise_for_status()
        content: dict[str, Any] = json.loads(answer.content)
        return content

    def stray_files(self) -> list[str]:
        """Return files among the objects that are not objects: their writers did not finish."""
        files = (path for path in self.gcs_root.rglob("*") if path.is_file())
        return [
            str(path.relative_to(self.gcs_root))
            for path in files
            if not path.name.endswith(_BUCKET_FILES) and not _is_object(path)
        ]

    def _list(self, collection: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            path = f"projects/{PROJECT}/locations/{REGION}/{collection}?pageSize=100&pageToken={token}"
            page = self._get(path)
            found += page.get(collection, [])
            token = page.get("nextPageToken", "")
            if not token:
                return found

    def _get(self, path: str) -> dict[str, Any]:
        return self._send("GET", path, None)

    def _send(self, verb: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        answer = requests.request(verb, f"{self.vertex_url}/v1/{path}", json=body, timeout=_TIMEOUT_SECONDS)
        answer.raise_for_status()
        content: dict[str, Any] = answer.json()
        return content

    def _wait(self, operation: Mapping[str, Any]) -> None:
        while not operation.get("done"):
            operation = self._send("POST", f"{operation['name']}:wait", {})


def _is_object(path: Path) -> bool:
    try:
        os.getxattr(path, ATTRIBUTE)
    except OSError as error:
        # A temporary file of the storage server may disappear meanwhile.
        return error.errno == errno.ENOENT
    return True
