"""Objects on Cloud Storage, read and written with the provider's hook."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

# The same object without and with signing in.
_ANONYMOUS = "https://storage.googleapis.com/"
_SIGNED_IN = "https://storage.cloud.google.com/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An object in a listing; another `generation` of the same name has another content."""

    generation: int
    updated: datetime


class ObjectStore:
    """Reads and writes objects by their ``gs://`` addresses."""

    def __init__(self, *, gcp_conn_id: str, impersonation_chain: str | Sequence[str] | None = None) -> None:
        from airflow.providers.google.cloud.hooks.gcs import GCSHook  # noqa: PLC0415  # 1 s, not at parse time

        self._hook = GCSHook(gcp_conn_id=gcp_conn_id, impersonation_chain=impersonation_chain)

    def read(self, uri: str) -> bytes:
        """Return an object's content.

        Raises:
            FileNotFoundError: naming the address.

        """
        from google.api_core.exceptions import NotFound  # noqa: PLC0415  # with the hook

        try:
            content: bytes = self._blob(uri).download_as_bytes()
        except NotFound as error:
            raise FileNotFoundError(f"{uri} does not exist") from error
        return content

    def exists(self, uri: str) -> bool:
        """Return whether an object exists."""
        found: bool = self._blob(uri).exists()
        return found

    def write(self, uri: str, content: bytes) -> None:
        """Write an object, replacing what was there."""
        self._blob(uri).upload_from_string(content, content_type="application/octet-stream")

    def write_once(self, uri: str, content: bytes, *, content_type: str = "application/octet-stream") -> bool:
        """Write an object unless it exists; return whether it was written."""
        from google.api_core.exceptions import PreconditionFailed  # noqa: PLC0415  # with the hook

        try:
            self._blob(uri).upload_from_string(content, content_type=content_type, if_generation_match=0)
        except PreconditionFailed:
            return False
        return True

    def read_version(self, uri: str) -> tuple[bytes, int] | None:
        """Return an object's content and the generation for `replace`, or None if it does not exist."""
        from google.api_core.exceptions import NotFound  # noqa: PLC0415  # with the hook

        blob = self._blob(uri)
        try:
            content: bytes = blob.download_as_bytes()
        except NotFound:
            return None
        return content, int(blob.generation)

    def replace(self, uri: str, content: bytes, *, generation: int, content_type: str) -> int | None:
        """Write an object if it is still of this generation, 0 for none; return the new one, else None.

        It is None as well if the reply to a write that took effect was lost.
        """
        from google.api_core.exceptions import PreconditionFailed  # noqa: PLC0415  # with the hook

        blob = self._blob(uri)
        try:
            blob.upload_from_string(content, content_type=content_type, if_generation_match=generation)
        except PreconditionFailed:
            return None
        return int(blob.generation)

    def page(self, uri: str) -> str:
        """Return the URL at which a person who may read the object opens it in a browser."""
        url: str = self._blob(uri).public_url
        return url.replace(_ANONYMOUS, _SIGNED_IN, 1)

    def delete(self, uri: str) -> None:
        """Delete an object; it is not an error if it is gone already."""
        from google.api_core.exceptions import NotFound  # noqa: PLC0415  # with the hook

        with suppress(NotFound):
            self._blob(uri).delete()

    def matching(self, pattern: str) -> list[str]:
        """Return the addresses that match ``gs://bucket/path/*.csv``, sorted.

        Names are compared here: not every server of the protocol supports matchGlob, and one that ignores it
        would return the whole bucket.
        """
        bucket, _, path = pattern.removeprefix("gs://").partition("/")
        names = self._hook.list(bucket, prefix=path.partition("*")[0])
        return sorted(f"gs://{bucket}/{name}" for name in names if fnmatchcase(name, path))

    def listing(self, prefix: str) -> dict[str, Listed]:
        """Return the objects whose addresses begin with ``gs://bucket/path``, by address, sorted."""
        bucket, _, path = prefix.removeprefix("gs://").partition("/")
        blobs = self._hook.get_conn().list_blobs(
            bucket, prefix=path, fields="items(name,generation,updated),nextPageToken"
        )
        found = {
            f"gs://{bucket}/{each.name}": Listed(generation=int(each.generation), updated=each.updated)
            for each in blobs
        }
        return dict(sorted(found.items()))

    def _blob(self, uri: str) -> Any:  # noqa: ANN401  # google-cloud-storage has no types
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        return self._hook.get_conn().bucket(bucket).blob(name)
