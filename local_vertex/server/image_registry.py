"""The images of this machine, as a container registry shows them: manifests and configurations, no layers.

https://distribution.github.io/distribution/spec/api/. An image has the labels that its row's command prints
now, as `key=value` lines: what stands for the image is a mounted environment and changes with its files.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local_vertex.domain.errors import InvalidArgument

if TYPE_CHECKING:
    from starlette.requests import Request

    from local_vertex.images import ImageRule, ImageTable

_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIGURATION: Final = "application/vnd.docker.container.image.v1+json"
_SECONDS: Final = 60


class ImageRegistry:
    """Answers GET of `/v2/<repository>/manifests/<tag or digest>` and of the blobs that they name."""

    def __init__(self, images: ImageTable) -> None:
        self._table = images
        self._configurations: dict[str, bytes] = {}

    def routes(self) -> list[Route]:
        """Return the routes for the REST door."""
        return [
            Route("/v2/{repository:path}/manifests/{reference}", self._manifest),
            Route("/v2/{repository:path}/blobs/{digest}", self._blob),
        ]

    async def _manifest(self, request: Request) -> Response:
        reference = request.path_params["reference"]
        mark = "@" if reference.startswith("sha256:") else ":"
        image = f"{request.path_params['repository']}{mark}{reference}"
        try:
            rule = self._table.rule(image)
        except InvalidArgument as error:
            return _unknown("MANIFEST_UNKNOWN", str(error))
        configuration = await run_in_threadpool(_configuration, rule)
        digest = f"sha256:{hashlib.sha256(configuration).hexdigest()}"
        self._configurations = {digest: configuration}
        described = {"mediaType": _CONFIGURATION, "size": len(configuration), "digest": digest}
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": described, "layers": []}
        return JSONResponse(manifest, media_type=_MANIFEST)

    async def _blob(self, request: Request) -> Response:
        digest = request.path_params["digest"]
        if digest not in self._configurations:
            return _unknown(
                "BLOB_UNKNOWN", f"{digest} is not a configuration that a manifest named; get the manifest"
            )
        return Response(self._configurations[digest], media_type=_CONFIGURATION)


def _configuration(rule: ImageRule) -> bytes:
    document: dict[str, Any] = {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Labels": _labels(rule)},
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    return json.dumps(document, sort_keys=True).encode()


def _labels(rule: ImageRule) -> dict[str, str]:
    if not rule.labels:
        return {}
    printed = subprocess.run(
        [str(rule.interpreter), *rule.labels],
        env={"PATH": os.environ.get("PATH", os.defpath), **rule.environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    lines = printed.stdout.splitlines() if printed.returncode == 0 else []
    return {name: text for name, _, text in (line.partition("=") for line in lines)}


def _unknown(code: str, message: str) -> Response:
    return JSONResponse({"errors": [{"code": code, "message": message}]}, 404)
