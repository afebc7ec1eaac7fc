"""Files by address: gs:// through google-cloud-storage, anything else as a path on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from google.api_core.exceptions import NotFound, PreconditionFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SCHEME: Final = "gs://"
# Vertex AI mounts every bucket at /gcs/<bucket>; this variable names another folder that does the same.
_MOUNT_VARIABLE: Final = "CLOUD_STORAGE_MOUNT"
_MOUNT: Final = "/gcs"


def object_uri(path: str, environ: Mapping[str, str]) -> str:
    """Return the gs:// address of a file that a container sees through a mount of Cloud Storage.

    A gs:// address and a path outside the mount are returned as they are.
    """
    mount = f"{environ.get(_MOUNT_VARIABLE, _MOUNT).rstrip('/')}/"
    return f"{_SCHEME}{path.removeprefix(mount)}" if path.startswith(mount) else path


class Storage:
    """Reads and writes whole files; the first gs:// address creates a client.

    The client honours STORAGE_EMULATOR_HOST and Google's default credentials.
    """

    def __init__(self) -> None:
        self._client: Any = None

    def read(self, uri: str) -> bytes:
        """Return the file's content.

        Raises:
            FileNotFoundError: naming the address.

        """
        if not uri.startswith(_SCHEME):
            return Path(uri).read_bytes()
        try:
            content: bytes = self._blob(uri).download_as_bytes()
        except NotFound as error:
            raise FileNotFoundError(f"{uri} does not exist") from error
        return content

    def write(self, uri: str, content: bytes) -> None:
        """Write the file, replacing what was there."""
        if uri.startswith(_SCHEME):
            self._blob(uri).upload_from_string(content, content_type="application/octet-stream")
            return
        path = Path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def write_once(self, uri: str, content: bytes) -> bool:
        """Write the file unless it exists; return whether it was written."""
        if not uri.startswith(_SCHEME):
            if Path(uri).exists():
                return False
            self.write(uri, content)
            return True
        try:
            self._blob(uri).upload_from_string(
                content, content_type="application/octet-stream", if_generation_match=0
            )
        except PreconditionFailed:
            return False
        return True

    def files(self, folder: str) -> Iterator[str]:
        """Yield the paths, relative to `folder`, of all files under it."""
        if not folder.startswith(_SCHEME):
            root = Path(folder)
            yield from (str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file())
            return
        bucket, _, prefix = folder.removeprefix(_SCHEME).rstrip("/").partition("/")
        prefix = f"{prefix}/" if prefix else ""
        for blob in self._connected().list_blobs(bucket, prefix=prefix):
            if not blob.name.endswith("/"):
                yield blob.name.removeprefix(prefix)

    def download(self, folder: str, target: Path) -> int:
        """Copy all files under `folder` to `target`; return their number."""
        count = 0
        for name in self.files(folder):
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.read(f"{folder.rstrip('/')}/{name}"))
            count += 1
        return count

    def _blob(self, uri: str) -> Any:  # noqa: ANN401  # google-cloud-storage has no types
        bucket, _, name = uri.removeprefix(_SCHEME).partition("/")
        return self._connected().bucket(bucket).blob(name)

    def _connected(self) -> Any:  # noqa: ANN401  # as above
        if self._client is None:
            from google.cloud import storage  # noqa: PLC0415  # takes seconds; local paths do not need it

            self._client = storage.Client()
        return self._client
