"""Protobuf messages as all services use them: times, statuses, plain JSON, field masks, checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from google.protobuf import field_mask_pb2, json_format, struct_pb2
from google.rpc import status_pb2

from local_vertex.domain.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from local_vertex.domain.records import Failure

Message: TypeAlias = Any
"""A protobuf message; the generated classes have no static types."""


def set_time(field: Timestamp, at: datetime | None) -> None:
    """Set a Timestamp field; None leaves it absent."""
    if at is not None:
        field.FromDatetime(at)


def status_of(failure: Failure) -> Message:
    """Return a failure as google.rpc.Status."""
    return status_pb2.Status(code=int(failure.code), message=failure.message)


def plain(message: Message) -> Any:  # noqa: ANN401  # JSON
    """Return a Struct or Value as plain JSON; every number is a float, as on the wire."""
    return json_format.MessageToDict(message)


def to_value(content: Any) -> struct_pb2.Value:  # noqa: ANN401  # JSON
    """Return plain JSON as a Value."""
    return json_format.ParseDict(content, struct_pb2.Value())


def last_part(message: Message) -> str:
    """Return the id at the end of a resource's name."""
    return str(message.name).rpartition("/")[2]


def first_set(message: Message, fields: Iterable[str]) -> str | None:
    """Return the first of `fields` that is set in `message`, or None."""
    present = {descriptor.name for descriptor, _ in message.ListFields()}
    return next((name for name in fields if name in present), None)


def masked(message: Message, paths: Iterable[str]) -> Message:
    """Return a copy with only the fields of a read mask; without paths, the message itself.

    A path may reach into a Struct (`pipeline_spec.pipeline_info`), as the clients' own masks do.
    Raises InvalidArgument for a field that does not exist.
    """
    chosen = [path for path in paths if path != "*"]
    if not chosen:
        return message
    target = type(message)()
    for path in chosen:
        _copy_path(message, target, path.split("."), path)
    return target


def _copy_path(source: Message, target: Message, parts: list[str], path: str) -> None:
    if isinstance(source, struct_pb2.Struct):
        _copy_struct_key(source, target, parts[0])
        return
    name, rest = parts[0], parts[1:]
    field = source.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        raise InvalidArgument.of("read_mask", f"'{path}' is not a field of {source.DESCRIPTOR.name}")
    if rest and field.message_type is not None and not field.is_repeated:
        if source.HasField(name):
            _copy_path(getattr(source, name), getattr(target, name), rest, path)
        return
    _copy_field(source, target, field)


def _copy_field(source: Message, target: Message, field: Message) -> None:
    part = type(source)()
    part.CopyFrom(source)
    for other, _ in source.ListFields():
        if other.name != field.name:
            part.ClearField(other.name)
    target.ClearField(field.name)
    target.MergeFrom(part)


def _copy_struct_key(source: struct_pb2.Struct, target: struct_pb2.Struct, name: str) -> None:
    head, *words = name.split("_")
    for key in (name, head + "".join(word.capitalize() for word in words)):
        if key in source.fields:
            target.fields[key].CopyFrom(source.fields[key])


def update(current: Message, changed: Message, paths: Iterable[str], allowed: frozenset[str]) -> None:
    """Copy the fields of an update mask, of whatever depth, from `changed` to `current`.

    Raises InvalidArgument for an empty mask and for a field that cannot be changed.
    """
    chosen = list(paths)
    if not chosen:
        raise InvalidArgument.of(
            "update_mask", f"required; fields that can be updated: {', '.join(sorted(allowed))}"
        )
    for path in chosen:
        if path not in allowed:
            raise InvalidArgument.of(
                "update_mask", f"'{path}' cannot be updated; can be: {', '.join(sorted(allowed))}"
            )
    field_mask_pb2.FieldMask(paths=chosen).MergeMessage(
        changed, current, replace_message_field=True, replace_repeated_field=True
    )
