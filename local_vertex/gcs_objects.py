"""Files of a folder as objects of the fake-gcs-server that serves it.

fake-gcs-server keeps an object's metadata in an extended attribute of the object's file, so a program
that shares its disk can make objects without a copy through HTTP.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import mimetypes
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import google_crc32c

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ATTRIBUTE: Final = "user.metadata"

_CHUNK_BYTES: Final = 1 << 20
_NEVER: Final = "0001-01-01T00:00:00Z"


def adopt(root: Path, path: Path) -> int:
    """Make a file, or every file below a folder, an object of the Cloud Storage that serves ``root``.

    A file that fake-gcs-server does not know makes every listing that reaches it fail with 404, so adopt
    before any client learns of it; ``publish`` never shows such a file at all. Objects that have not changed
    keep their generation. Returns how many became objects or changed. ValueError when ``path`` is outside
    ``root``.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{path} is outside {root}; only files below it can be objects")
    return sum(_adopt_file(file) for file in _files(path))


def leave(root: Path, path: Path) -> int:
    """Leave files as they are: the `adopt` of a folder that no fake-gcs-server serves."""
    del root, path
    return 0


def publish(source: Path, target: Path) -> None:
    """Move a finished file into the folder of a bucket as an object, in one step; replaces an older one.

    Both must be on one file system. The bucket's folder must exist; folders below it are made.
    """
    _adopt_file(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from (file for file in path.rglob("*") if file.is_file() and not file.is_symlink())


def _adopt_file(file: Path) -> bool:
    md5, crc32c = _checksums(file)
    known = _known_metadata(file)
    if known.get("Md5Hash") == md5 and known.get("Crc32c") == crc32c:
        return False
    os.setxattr(file, ATTRIBUTE, json.dumps(_metadata(file, md5, crc32c)).encode())
    return True


def _known_metadata(file: Path) -> dict[str, object]:
    try:
        known: dict[str, object] = json.loads(os.getxattr(file, ATTRIBUTE))
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return {}
    return known


def _checksums(file: Path) -> tuple[str, str]:
    md5 = hashlib.md5(usedforsecurity=False)
    crc32c = 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            md5.update(chunk)
            crc32c = google_crc32c.extend(crc32c, chunk)
    return _base64(md5.digest()), _base64(crc32c.to_bytes(4, "big"))


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _metadata(file: Path, md5: str, crc32c: str) -> dict[str, object]:
    """Return the attribute as fake-gcs-server 1.54 writes it; the generation is the time in microseconds."""
    nanoseconds = time.time_ns()
    now = datetime.fromtimestamp(nanoseconds / 1e9, tz=UTC).isoformat().replace("+00:00", "Z")
    content_type, encoding = mimetypes.guess_type(file.name)
    return {
        "StorageClass": "STANDARD",
        "ContentType": ("application/gzip" if encoding == "gzip" else content_type)
        or "application/octet-stream",
        "ContentEncoding": "",
        "ContentDisposition": "",
        "ContentLanguage": "",
        "CacheControl": "",
        "Crc32c": crc32c,
        "Md5Hash": md5,
        "Etag": md5,
        "ACL": [],
        "Metadata": None,
        "Created": now,
        "Deleted": _NEVER,
        "Updated": now,
        "CustomTime": _NEVER,
        "Generation": nanoseconds // 1000,
        "RetentionMode": "",
        "RetentionRetainUntil": "",
    }
