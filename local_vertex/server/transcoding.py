"""HTTP to protobuf and back, by the rules of google.api.http and proto3 JSON."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from google.api import httpbody_pb2
from google.protobuf import json_format

from local_vertex.domain.errors import InvalidArgument
from local_vertex.server.wire_values import as_json, read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf import descriptor

    from local_vertex.api.messages import Message
    from local_vertex.server.methods import HttpRule, Method

# A part of a template ends at a slash that is outside of braces.
_PART = re.compile(r"(?:\{[^}]*\}|[^/{])+")
_HTTP_BODY = httpbody_pb2.HttpBody.DESCRIPTOR
# What json_format lets through beside its own error, as for a number in a Struct that no double holds.
_UNREADABLE = (ValueError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Template:
    """A parsed URI template: `*` in `segments` matches one segment of a path."""

    segments: tuple[str, ...]
    action: str
    variables: tuple[tuple[str, int, int], ...]
    rule: HttpRule
    method: Method

    @classmethod
    def parse(cls, rule: HttpRule, method: Method) -> _Template:
        path, action = _split_action(rule.uri)
        segments: list[str] = []
        variables: list[tuple[str, int, int]] = []
        for part in _PART.findall(path):
            field, _, pattern = part.strip("{}").partition("=") if part.startswith("{") else ("", "", part)
            start = len(segments)
            segments += (pattern or "*").split("/")
            if field:
                variables.append((field, start, len(segments)))
        return cls(
            segments=tuple(segments), action=action, variables=tuple(variables), rule=rule, method=method
        )

    def matches(self, segments: tuple[str, ...]) -> bool:
        return all(mine in ("*", theirs) for mine, theirs in zip(self.segments, segments, strict=True))

    def bind(self, segments: tuple[str, ...]) -> dict[str, str]:
        return {field: "/".join(segments[start:end]) for field, start, end in self.variables}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A method that a URL names, with the fields of its path."""

    method: Method
    body: str | None
    fields: Mapping[str, str]


class Router:
    """Finds the method of a URL."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self._templates: defaultdict[tuple[str, str, int], list[_Template]] = defaultdict(list)
        for method in methods:
            for rule in method.rules:
                template = _Template.parse(rule, method)
                self._templates[rule.verb, template.action, len(template.segments)].append(template)

    def find(self, verb: str, path: str) -> Route | None:
        """Return the route of an HTTP request, or None if no rule matches it."""
        bare, action = _split_action(path)
        segments = tuple(unquote(segment) for segment in bare.strip("/").split("/"))
        for template in self._templates.get((verb, action, len(segments)), ()):
            if template.matches(segments):
                return Route(method=template.method, body=template.rule.body, fields=template.bind(segments))
        return None


def _split_action(path: str) -> tuple[str, str]:
    head, slash, last = path.rpartition("/")
    bare, _, action = last.partition(":")
    return f"{head}{slash}{bare}", action


def parse_request(route: Route, query: Iterable[tuple[str, str]], body: bytes, content_type: str) -> Message:
    """Return the protobuf request that an HTTP request stands for; raises InvalidArgument."""
    if route.method.request_type is None:
        raise InvalidArgument(f"{route.method.rpc} has no request over REST")
    request = route.method.request_type()
    # A field of this type takes the body unchanged: rawPredict's.
    raw = next((each.name for each in request.DESCRIPTOR.fields if each.message_type is _HTTP_BODY), None)
    content = {} if raw else _body_content(route, body)
    for name, text in query:
        if not name.startswith("$"):
            _put(content, request.DESCRIPTOR, name, text)
    for name, text in route.fields.items():
        _put(content, request.DESCRIPTOR, name, text)
    try:
        json_format.ParseDict(content, request)
    except (json_format.ParseError, *_UNREADABLE) as error:
        raise InvalidArgument(f"invalid JSON payload received: {error}") from error
    if raw:
        getattr(request, raw).CopyFrom(httpbody_pb2.HttpBody(content_type=content_type, data=body))
    return request


def _body_content(route: Route, body: bytes) -> dict[str, Any]:
    if not body.strip() or route.body is None:
        return {}
    content = read_json(body)
    if not isinstance(content, dict):
        raise InvalidArgument(f"the request's body must be a JSON object, not {type(content).__name__}")
    return content if route.body == "*" else {route.body: content}


def _put(content: dict[str, Any], message: descriptor.Descriptor, path: str, text: str) -> None:
    """Set a field, given as `a.b.c`, in the JSON form of a message."""
    *parents, leaf = path.split(".")
    for name in parents:
        field = _field(message, name, path)
        if field.message_type is None:
            raise InvalidArgument(f"'{path}': '{name}' has no fields")
        content = content.setdefault(name if name in content else _known_key(content, field), {})
        if not isinstance(content, dict):
            raise InvalidArgument(f"'{path}' is in the URL, and '{name}' in the body is not an object")
        message = field.message_type
    field = _field(message, leaf, path)
    key = _known_key(content, field)
    # JSON has true and false for themselves; protobuf reads numbers and enums from strings as well.
    value = text.lower() == "true" if field.type == field.TYPE_BOOL else text
    if field.is_repeated:
        values = content.setdefault(key, [])
        if not isinstance(values, list):
            raise InvalidArgument(f"'{path}' is in the URL, and in the body it is not a list")
        values.append(value)
    else:
        content[key] = value


def _known_key(content: dict[str, Any], field: descriptor.FieldDescriptor) -> str:
    """Return the spelling under which `content` already has the field."""
    return field.name if field.name in content else field.json_name


def _field(message: descriptor.Descriptor, name: str, path: str) -> descriptor.FieldDescriptor:
    for field in message.fields:
        if name in (field.name, field.json_name):
            return field
    raise InvalidArgument(f"'{path}' is not a field of the request: {message.name} has no '{name}'")


def wants_enum_numbers(query: Iterable[tuple[str, str]]) -> bool:
    """Return whether the client asked for enums as numbers (`$alt=json;enum-encoding=int`)."""
    return any(name == "$alt" and "enum-encoding=int" in value for name, value in query)


def to_json(message: Message, *, enum_numbers: bool) -> bytes:
    """Return a message as proto3 JSON."""
    try:
        content = json_format.MessageToDict(message, use_integers_for_enums=enum_numbers)
    except (json_format.Error, ValueError):
        # A state of another origin may hold such numbers: one of its runs must not hide the others in a list.
        content = json_format.MessageToDict(as_json(message), use_integers_for_enums=enum_numbers)
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
