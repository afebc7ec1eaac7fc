"""Google's discovery documents, and the parts of a method's requests and answers that they do not allow.

`googleapiclient` ships the documents from which REST clients of every language are generated: the paths, the
query parameters, and the schema of each body with its names, types and enums.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import grpc
import proto
import pytest
from google.api import httpbody_pb2
from google.api_core.path_template import transcode
from google.protobuf import json_format
from jsonschema import Draft202012Validator, FormatChecker

from local_vertex.server import transcoding
from local_vertex.server.methods import method_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from local_vertex.api.messages import Message
    from local_vertex.server.methods import Handler, HttpRule, Method

JSON = dict[str, Any]

FORMATS: Final = {
    "google-datetime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z",
    "google-duration": r"-?\d+(\.\d{1,9})?s",
    "google-fieldmask": r"[a-zA-Z0-9.]+(,[a-zA-Z0-9.]+)*",
    "int64": r"-?\d+",
    "uint64": r"\d+",
    "byte": r"[A-Za-z0-9+/]*={0,2}",
}
_ANY: Final = "type.googleapis.com/"
_PACKAGES: Final = {"google.cloud.aiplatform.v1.": "GoogleCloudAiplatformV1", "google.rpc.": "GoogleRpc"}


def _format_checker() -> FormatChecker:
    checker = FormatChecker(formats=())
    for name, pattern in FORMATS.items():
        matches: Callable[[object], bool] = re.compile(pattern).fullmatch  # type: ignore[assignment]  # truthy
        checker.checks(name)(
            lambda value, matches=matches: not isinstance(value, str) or bool(matches(value))
        )
    return checker


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One API's document: its methods by verb and path, and its schemas as JSON Schema."""

    methods: Mapping[tuple[str, str], JSON]
    schemas: Mapping[str, JSON]

    def method(self, rule: HttpRule) -> JSON | None:
        """Return the method of a binding of google.api.http, or None."""
        path = re.sub(r"\{[\w.]+=([^}]*)\}", r"\1", rule.uri)
        return self.methods.get((rule.verb, path))

    def problems(self, schema: str, content: object) -> Iterator[str]:
        """Yield what a body has and its schema does not, including messages packed into it."""
        validator = Draft202012Validator(
            {"$ref": f"#/$defs/{schema}", "$defs": self.schemas}, format_checker=_format_checker()
        )
        for error in validator.iter_errors(content):
            yield f"{schema}{error.json_path.removeprefix('$')}: {error.message}"
        for packed, rest in _packed(content):
            if packed in self.schemas:
                yield from self.problems(packed, rest)

    def read_only(self, schema: str, content: object) -> Iterator[str]:
        """Yield the paths of what a request sets although only the service may."""
        yield from self._read_only({"$ref": f"#/$defs/{schema}"}, content, schema)

    def _read_only(self, schema: JSON, content: object, path: str) -> Iterator[str]:
        while "$ref" in schema:
            schema = self.schemas[schema["$ref"].rpartition("/")[2]]
        if isinstance(content, list):
            for each in content:
                yield from self._read_only(schema.get("items", {}), each, path)
        elif isinstance(content, dict):
            for name, value in content.items():
                of = schema.get("properties", {}).get(name, schema.get("additionalProperties") or {})
                if of.get("readOnly"):
                    yield f"{path}.{name}"
                yield from self._read_only(of, value, f"{path}.{name}")


@cache
def document(api: str) -> Document:
    """Return the document of an API, such as `aiplatform.v1`."""
    file = resources.files("googleapiclient.discovery_cache.documents") / f"{api}.json"
    content: JSON = json.loads(file.read_text(encoding="utf-8"))
    return Document(
        methods={
            (method["httpMethod"], "/" + re.sub(r"\{[^}]*\}", "*", method["flatPath"])): method
            for method in _methods(content)
        },
        schemas={name: _json_schema(schema) for name, schema in content["schemas"].items()},
    )


def _methods(resource: JSON) -> Iterator[JSON]:
    yield from resource.get("methods", {}).values()
    for each in resource.get("resources", {}).values():
        yield from _methods(each)


def _json_schema(schema: JSON) -> JSON:
    """Return a schema of the discovery format as JSON Schema: closed objects, `any` without a type."""
    wanted = {"type", "format", "enum", "readOnly"}
    result: JSON = {key: value for key, value in schema.items() if key in wanted and value != "any"}
    if "$ref" in schema:
        result["$ref"] = f"#/$defs/{schema['$ref']}"
    if "items" in schema:
        result["items"] = _json_schema(schema["items"])
    if schema.get("type") == "object":
        result["properties"] = {name: _json_schema(of) for name, of in schema.get("properties", {}).items()}
        result["additionalProperties"] = (
            _json_schema(schema["additionalProperties"]) if "additionalProperties" in schema else False
        )
    return result


def _packed(content: object) -> Iterator[tuple[str, JSON]]:
    """Yield the messages that are packed into a body (google.protobuf.Any), with their schemas' names."""
    if isinstance(content, list):
        for each in content:
            yield from _packed(each)
    elif isinstance(content, dict):
        name = str(content.get("@type", "")).removeprefix(_ANY)
        for package, prefix in _PACKAGES.items():
            if name.startswith(package):
                rest = {key: value for key, value in content.items() if key != "@type"}
                yield prefix + name.removeprefix(package).replace(".", ""), rest
        for each in content.values():
            yield from _packed(each)


class Recorder:
    """Holds every call of a server's methods, or of a client's channel, against the documents.

    An answer is taken as REST returns it, with enums by name. A request is taken as the REST client would
    send it: only a client of ours need keep to the schema, a test may send what is wrong.
    """

    def __init__(self, *, requests: bool = False) -> None:
        self._requests = requests
        self._calls: list[tuple[Method, Message, Message | None]] = []

    def watch(self, methods: Iterable[Method]) -> tuple[Method, ...]:
        """Return the methods, each of which notes what it gets and answers."""
        return tuple(replace(each, handler=self._watched(each)) if each.handler else each for each in methods)

    def listen(self, channel: grpc.Channel) -> grpc.Channel:
        """Return a channel each answer of which is noted, to a server in another process."""
        return grpc.intercept_channel(channel, _Listener(self._calls))

    def count(self, rpc: str) -> int:
        """Return how many calls of a method there were."""
        return sum(method.rpc == rpc for method, _, _ in self._calls)

    def check(self) -> None:
        """Fail the test whose calls were not what Google documents."""
        problems = dict.fromkeys(
            f"{method.rpc}: {problem}"
            for method, request, response in self._calls
            for problem in (
                *(request_problems(method, request) if self._requests else ()),
                *(answer_problems(method, response) if response is not None else ()),
            )
        )
        if problems:
            pytest.fail("not as Google's discovery document has it:\n" + "\n".join(problems))

    def _watched(self, method: Method) -> Handler:
        handler = method.handler
        assert handler is not None

        def answer(request: Message) -> Message:
            response = None
            try:
                response = handler(request)
            finally:
                self._calls.append((method, request, response))
            return response

        return answer


class _Listener(grpc.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Notes the answers of a channel."""

    def __init__(self, calls: list[tuple[Method, Message, Message | None]]) -> None:
        self._calls = calls
        self._table = {method.path: method for method in method_table({})}

    def intercept_unary_unary(self, continuation: Message, details: Message, request: Message) -> Message:
        call = continuation(details, request)
        if call.exception() is None:
            self._calls.append((self._table[details.method], _protobuf(request), _protobuf(call.result())))
        return call


def _protobuf(message: Message) -> Message:
    """Return a message of proto-plus, as the clients have them, as one of protobuf."""
    return type(message).pb(message) if isinstance(message, proto.Message) else message


def described(method: Method) -> tuple[Document, list[tuple[HttpRule, JSON]]]:
    """Return the document that describes a method, and each binding with what it says of it.

    Raises LookupError for a method that is in none.
    """
    for api in ("aiplatform.v1", "cloudresourcemanager.v3", "monitoring.v3"):
        of = document(api)
        bindings = [(rule, found) for rule in method.rules if (found := of.method(rule)) is not None]
        if bindings:
            return of, bindings
    raise LookupError(f"{method.path} is in no discovery document")


def answer_problems(method: Method, response: Message) -> Iterator[str]:
    """Yield what an answer has and its documented schema does not."""
    of, [(_, found), *_] = described(method)
    if not isinstance(response, httpbody_pb2.HttpBody):
        content = json.loads(transcoding.to_json(response, enum_numbers=False))
        yield from of.problems(found["response"]["$ref"], content)


def request_problems(method: Method, request: Message) -> Iterator[str]:
    """Yield what a request has that is not documented, and what it sets although only the service may."""
    of, bindings = described(method)
    for rule, found in bindings:
        option = {"method": rule.verb.lower(), "uri": rule.uri, **({"body": rule.body} if rule.body else {})}
        try:
            sent = transcode([option], message=request)  # type: ignore[no-untyped-call]  # google.api_core has none
        except ValueError:
            continue
        yield from _sent_problems(of, found, sent)
        return
    yield f"no documented path is that of {request!r}"


def _flat(query: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the parameters of a query; the fields of a message have its name before theirs."""
    for name, value in query.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _sent_problems(of: Document, found: JSON, sent: Mapping[str, Any]) -> Iterator[str]:
    query = set(_flat(json_format.MessageToDict(sent["query_params"])))
    yield from (f"?{name}: no such parameter" for name in sorted(query - set(found["parameters"])))
    if "body" in sent and "request" in found:
        content = json.loads(transcoding.to_json(sent["body"], enum_numbers=False))
        schema = found["request"]["$ref"]
        yield from of.problems(schema, content)
        yield from (f"{path}: output only" for path in of.read_only(schema, content))
