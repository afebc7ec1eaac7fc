"""Container images in their registry, read by the protocol that every registry speaks.

https://distribution.github.io/distribution/spec/api/. Nothing is pulled: a manifest and the image's
configuration are two small documents.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vertex_airflow.hooks.vertex import VertexHook

_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_PLATFORM = {"os": "linux", "architecture": "amd64"}
_TIMEOUT = 30.0
# https://cloud.google.com/artifact-registry/docs/docker/names; mirror.gcr.io and the regions' names included.
_GOOGLE = re.compile(r"(?:(?:[a-z0-9-]+\.)*gcr\.io|(?:[a-z0-9-]+\.)+pkg\.dev)(?::443)?")
_HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?")
_REFUSALS = frozenset({401, 403})


class ImageError(ValueError):
    """An image's name does not resolve to an image that Vertex AI can run."""


class PrivateRegistryError(Exception):
    """A registry requires credentials, and is not one that the connection's may be sent to."""


class RegistryError(Exception):
    """A registry answered with an HTTP error, kept as `code`."""

    def __init__(self, message: str, code: int) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageAddress:
    """An image's registry (empty: none is named), repository, and tag or digest."""

    registry: str
    repository: str
    reference: str

    @classmethod
    def parse(cls, image: str) -> ImageAddress:
        """Return the parts of `[host/]repository[:tag][@sha256:…]`, by Docker's rule for what is a host."""
        name, at, digest = image.partition("@")
        head, slash, rest = name.partition("/")
        named = bool(slash) and (head == "localhost" or "." in head or ":" in head)
        path = rest if named else name
        repository, _, tag = path.partition(":")
        return cls(
            registry=head if named else "",
            repository=repository,
            reference=digest if at else tag or "latest",
        )


def image_labels(hook: VertexHook, image: str) -> Mapping[str, str]:
    """Return the labels of an image for linux/amd64, as its registry has them.

    The registry is the connection's ``registry_endpoint``, or the one that the image names. The connection's
    credentials open all of Google Cloud, so they are sent only to ``registry_endpoint`` and to Google's
    registries; requests to any other registry are anonymous.

    Raises:
        ImageError: when neither the name nor the connection has a registry, or it is not for linux/amd64.
        PrivateRegistryError: when a registry that gets anonymous requests requires credentials.
        RegistryError: for any other error of the registry, 404 where there is no such image.

    """
    import requests  # noqa: PLC0415  # not at parse time
    from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415  # with it

    address = ImageAddress.parse(image)
    trusted = bool(hook.registry_endpoint) or _GOOGLE.fullmatch(address.registry) is not None
    authorized: Any = AuthorizedSession  # google.auth has no types
    session = authorized(hook.get_credentials()) if trusted else requests.Session()
    try:
        return _labels(session, hook.registry_endpoint, address, image)
    except RegistryError as error:
        if trusted or error.code not in _REFUSALS:
            raise
        raise PrivateRegistryError(
            f"{image!r} cannot be checked: {address.registry} requires credentials, and the connection's "
            "are sent only to gcr.io, pkg.dev and the connection's registry_endpoint"
        ) from error


def _labels(session: Any, endpoint: str, address: ImageAddress, image: str) -> Mapping[str, str]:  # noqa: ANN401  # requests has no types
    repository = address.repository
    if endpoint and address.registry:
        repository = f"{address.registry}/{repository}"
    elif not endpoint and not address.registry:
        raise ImageError(f"{image!r} names no registry")
    elif not endpoint and not _HOST.fullmatch(address.registry):
        raise ImageError(f"{address.registry!r} of {image!r} is not a host name")
    url = f"{endpoint or f'https://{address.registry}'}/v2/{quote(repository)}"
    manifest = _get(session, f"{url}/manifests/{address.reference}", accept=(*_INDEXES, *_MANIFESTS))
    if "manifests" in manifest:
        digests = [
            each["digest"]
            for each in manifest["manifests"]
            if {name: each.get("platform", {}).get(name) for name in _PLATFORM} == _PLATFORM
        ]
        if not digests:
            raise ImageError(f"{image!r} is not for linux/amd64, which Vertex AI runs")
        manifest = _get(session, f"{url}/manifests/{digests[0]}", accept=_MANIFESTS)
    configuration = _get(session, f"{url}/blobs/{manifest['config']['digest']}")
    labels: Mapping[str, str] = configuration.get("config", {}).get("Labels") or {}
    return labels


def _get(session: Any, url: str, accept: tuple[str, ...] = ("*/*",)) -> dict[str, Any]:  # noqa: ANN401
    answer = session.get(url, headers={"Accept": ", ".join(accept)}, timeout=_TIMEOUT)
    if not answer.ok:
        raise RegistryError(f"{url} answered {answer.status_code} {answer.reason}", answer.status_code)
    document: dict[str, Any] = answer.json()
    return document
