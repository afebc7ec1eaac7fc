"""Limits on the values of messages, so that every answer can be read over gRPC and as JSON."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2

from local_vertex.domain.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_vertex.api.messages import Message

# Protobuf reads a hundred levels; an answer may hold what a request held a few levels deeper.
_DEEPEST = 90
# How JSON writes half of a pair of UTF-16, which alone is not Unicode.
_SURROGATE = "\\ud"
# Their own fields are not part of a path: {"a": [1]} has the number at a[0].
_JSON = (struct_pb2.Value, struct_pb2.Struct, struct_pb2.ListValue)
_TIMES = (timestamp_pb2.Timestamp, duration_pb2.Duration)


def read_json(body: bytes) -> Any:  # noqa: ANN401  # JSON
    """Return the JSON of a request's body; raises InvalidArgument, also for NaN and lone surrogates."""
    try:
        text = body.decode()
        content = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        if _SURROGATE in text.lower():
            json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the request's body is not valid JSON: {error}") from error
    return content


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is out of the range of a double")
    return number


def check_request(request: Message) -> None:
    """Raise InvalidArgument for a request with a value that no answer could hold.

    These are messages that are nested too deeply, times out of their range, and numbers in a Struct that JSON
    does not have: "attempting to serialize NaN or Infinity results in error" (google/protobuf/struct.proto).
    """
    for path, message in nested(request):
        if isinstance(message, struct_pb2.Value) and not math.isfinite(message.number_value):
            raise InvalidArgument.of(path, f"{message.number_value} is not a number that JSON has")
        if isinstance(message, _TIMES):
            try:
                message.ToJsonString()
            except (ValueError, OverflowError) as error:
                raise InvalidArgument.of(path, str(error)) from error


def nested(message: Message, path: str = "", depth: int = 1) -> Iterator[tuple[str, Message]]:
    """Return a message and all in it, with their paths; raises InvalidArgument for too many levels."""
    if depth > _DEEPEST:
        raise InvalidArgument.of(path[:80], f"it is nested more than {_DEEPEST} messages deep")
    yield path, message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        own = "" if isinstance(message, _JSON) else field.name
        inner = f"{path}.{own}".strip(".")
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                for key, item in value.items():
                    yield from nested(item, f"{inner}.{key}", depth + 2)
        elif field.is_repeated:
            for number, item in enumerate(value):
                yield from nested(item, f"{inner}[{number}]", depth + 1)
        else:
            yield from nested(value, inner, depth + 1)


def as_json(message: Message) -> Message:
    """Return a copy with NaN and Infinity in a Struct as the strings that JSON has for a field's."""
    copy = type(message)()
    copy.CopyFrom(message)
    for _, each in nested(copy):
        if isinstance(each, struct_pb2.Value) and not math.isfinite(each.number_value):
            each.string_value = {math.inf: "Infinity", -math.inf: "-Infinity"}.get(each.number_value, "NaN")
    return copy
