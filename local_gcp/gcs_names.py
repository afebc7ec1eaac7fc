"""Names that must not reach fake-gcs-server, which uses the name of a bucket or object as a path.

A `..` in it leads out of the folder that Cloud Storage serves. Names appear in a request's path and query, in
JSON bodies and in the first part of a multipart upload. fake-gcs-server reads queries and JSON more leniently
than Python does (broken escapes, duplicate keys), so what was checked is serialized again before forwarding.
"""

from __future__ import annotations

import json
from email.message import Message
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

_DOTS: Final = frozenset({".", ".."})
_KEYS: Final = frozenset({"name", "bucket"})


class UnsafeNameError(ValueError):
    """A name leads, or could lead, out of the folder that Cloud Storage serves."""


def check_path(path: str) -> None:
    """Raise UnsafeNameError if a request's raw path contains such a name."""
    plain = unquote(path)
    _check_segments(plain)
    if "/o//" in plain:
        raise UnsafeNameError(f"{plain!r} has an absolute object name; remove its first slash")


def checked_query(query: str) -> list[tuple[str, str]]:
    """Return the key-value pairs of a query; raise UnsafeNameError if a name in it is unsafe."""
    pairs = parse_qsl(query)
    for key, value in pairs:
        if key == "name":
            _check_name(value)
    return pairs


def checked_document(body: bytes) -> bytes:
    """Return a JSON body, serialized again; raise UnsafeNameError if a name in it is unsafe."""
    document = _parsed(body)
    for key, value in _members(document):
        if key.casefold() in _KEYS and isinstance(value, str):
            _check_name(value)
    return json.dumps(document).encode()


def multipart_name(content_type: str, start: bytes) -> str | None:
    """Return the name in the metadata at the start of an upload, or None if more of the body is needed.

    Raises:
        UnsafeNameError: there is no name, or it is unsafe.

    """
    header = Message()
    header["Content-Type"] = content_type
    boundary = (header.get_boundary() or "").strip("'")  # gsutil puts it in single quotes
    if not boundary:
        raise UnsafeNameError(
            f"Content-Type {content_type!r} has no boundary; send multipart/related with one"
        )
    parts = start.split(f"--{boundary}".encode(), 2)
    if len(parts) <= 2:  # noqa: PLR2004  # the preamble and the metadata, which may be incomplete
        return None
    metadata = _parsed(parts[1].replace(b"\r\n", b"\n").partition(b"\n\n")[2])
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name:
        raise UnsafeNameError(
            "the metadata of a multipart upload has no `name`; send the object's name there"
        )
    _check_name(name)
    return name


def _check_name(name: str) -> None:
    _check_segments(name)
    if name.startswith("/"):
        raise UnsafeNameError(f"object name {name!r} is absolute; remove its first slash")


def _check_segments(path: str) -> None:
    if _DOTS & set(path.split("/")) or "\0" in path:
        raise UnsafeNameError(
            f"{path!r} has a '.' or '..' segment or a NUL, and objects are files here; choose another name"
        )


def _parsed(body: bytes) -> Any:  # noqa: ANN401  # JSON
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnsafeNameError(f"{body[:80]!r} is not valid JSON; send a JSON object") from error


def _members(value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  # JSON
    if isinstance(value, dict):
        # Keys and values of an object's custom metadata are arbitrary and never used as paths.
        members = [(key, each) for key, each in value.items() if key.casefold() != "metadata"]
        yield from members
        value = [each for _, each in members]
    for each in value if isinstance(value, list) else ():
        yield from _members(each)
