"""Makes requests of every kind, most of them wrong, from a seed: the same ones for the same seed."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

from google.protobuf import json_format, struct_pb2

from local_vertex.composition import SERVICES
from local_vertex.server.methods import method_table
from tests.local_vertex.servers import PARENT, PROJECT, REGION
from tests.local_vertex.test_endpoints import AUTOMATIC
from tests.local_vertex_engine.specs import pipeline_spec, python_task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from google.protobuf.descriptor import FieldDescriptor

    from local_vertex.api.messages import Message
    from local_vertex.server.methods import Method

METHODS = [
    method
    for method in method_table({name: service for service, name in SERVICES.items()})
    if method.request_type is not None and method.rules
]
_SUPPORTED = [method for method in METHODS if method.handler is not None]
_CREATING = [
    method for method in _SUPPORTED if method.rpc.startswith(("Create", "Upload", "Deploy", "Update"))
]
_TASK = python_task(
    "pass",
    "{{$.inputs.parameters['p']}}",
    component={
        "inputDefinitions": {"parameters": {"p": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 1.5}}},
        "outputDefinitions": {
            "artifacts": {
                "m": {
                    "artifactType": {"instanceSchema": "title: tfx.Model"},
                    "properties": {"d": {"constantValue": {"doubleValue": 1.0}}},
                    "metadata": {"k": 1},
                }
            }
        },
    },
    triggerPolicy={"condition": "inputs.parameter_values['p'] > 1.0 && true"},
    retryPolicy={"maxRetryCount": 1, "backoffDuration": "1s", "backoffFactor": 2},
    container={"resources": {"cpuLimit": 1, "memoryLimit": 1, "resourceCpuRequest": "1"}},
)
_SPEC = pipeline_spec({"t": _TASK}) | {"defaultPipelineRoot": "gs://bkt/r"}
_JOB = {
    "displayName": "j",
    "pipelineSpec": _SPEC,
    "labels": {"a": "b"},
    "runtimeConfig": {"gcsOutputDirectory": "gs://bkt/r", "parameterValues": {"q": {"r": [1.5, "s"]}}},
}
_POOL = {"containerSpec": {"imageUri": "i", "command": ["c"]}, "machineSpec": {"machineType": "n1"}}
_CUSTOM = {"displayName": "c", "jobSpec": {"workerPoolSpecs": [_POOL], "scheduling": {"timeout": "60s"}}}
_MODEL = {"displayName": "m", "containerSpec": {"imageUri": "i"}, "metadata": {"a": {"b": 1.5}}}
_BODIES: dict[str, dict[str, Any]] = {
    "CreatePipelineJob": {"pipelineJob": _JOB},
    "CreateCustomJob": {"customJob": _CUSTOM},
    "UploadModel": {"model": _MODEL},
    "CreateEndpoint": {"endpoint": {"displayName": "e", "labels": {"a": "b"}}},
    "DeployModel": {
        "deployedModel": {"model": f"{PARENT}/models/m", "automaticResources": AUTOMATIC},
        "trafficSplit": {"0": 100},
    },
    "UpdateEndpoint": {"endpoint": {"displayName": "f"}, "updateMask": "displayName"},
    "UpdateModel": {"model": {"description": "d"}, "updateMask": "description"},
    "Predict": {"instances": [{"miles": 1.5}], "parameters": {"p": 1}},
    "MergeVersionAliases": {"versionAliases": ["a-b"]},
}
_NUMBER = "9" * 5000
_FILTERS = [
    'state="x"',
    "(" * 5000,
    "NOT " * 5000 + "a=1",
    "-" * 5000,
    'labels.a:* AND createTime > "2020-01-01"',
    f"state={_NUMBER}",
    "createTime > 0000-00-00",
    'createTime > "9999-99-99T99:99:99Z"',
    "metadata.a.number_value > nan",
    'in_context("x")',
    'parent_contexts: "y" OR z',
    'displayName = "' + "\\" * 999,
    "\N{ARABIC-INDIC DIGIT TWO}=\N{SUPERSCRIPT TWO}",
]
_TOKENS = [
    "x",
    "é",
    "bnVsbA==",
    "W10=",
    "WyIiLCIiLDFd",
    "WyJcbiIsIiIsLTFd",
    "WyJcbiIsIiIsMWU0MDBd",
    "Ww==" * 999,
]
_WORDS = {
    "filter": _FILTERS,
    "pageToken": _TOKENS,
    "orderBy": ["name", "name desc,", "labels", "pipelineSpec", "x y z", ",,"],
    "readMask": ["*", "name", "a.b.c", "pipelineSpec.x", "Name", "..", "job_detail.taskDetails"],
    "updateMask": ["*", "", "name", "labels", "a.b"],
    "pageSize": ["-1", "0", _NUMBER, "1e400", "NaN", "2147483648", "1.5"],
    "timeout": ["-1s", "0s", f"{_NUMBER}s", "x", "1e400s"],
}
_IDS = {
    "projects": PROJECT,
    "locations": REGION,
    "metadataStores": "default",
    "models": "m",
    "endpoints": "7",
}
_ODD_IDS = ["m@1", "m@", "%00", "%FF", "..", "%C3%A9", "9" * 300]
_LOCATION = 3


def deep(levels: int) -> Any:  # noqa: ANN401  # JSON
    """Return JSON with this many levels."""
    value: Any = 1
    for level in range(levels):
        value = {"a": value} if level % 2 else [value]
    return value


def junk(random: Random) -> Any:  # noqa: ANN401  # JSON
    """Return a value that hardly any field can take."""
    return random.choice(
        [
            float("nan"),
            float("inf"),
            float("-inf"),
            10**400,
            2**63,
            -1,
            1.5,
            True,
            None,
            "",
            "\0",
            "\ud800",
            "é" * 2000,
            "NaN",
            "Infinity",
            "-5s",
            "315576000000s",
            "0001-01-01T00:00:00Z",
            "9" * 5000,
            "((((" * 300,
            "!" * 2000,
            "{{$.inputs}}",
            "a && " * 2000 + "a",
            [],
            {},
            {"\ud800": 1},
            {"@type": "x"},
            deep(28),
            deep(60),
            deep(120),
        ]
    )


def _places(value: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401  # JSON
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield value, key
        yield from _places(each)


def _spoil(random: Random, body: dict[str, Any]) -> None:
    places = list(_places(body))
    if not places or random.random() < 0.2:
        body[random.choice(["filter", "x", "name", "labels"])] = junk(random)
        return
    whole, key = random.choice(places)
    if isinstance(whole[key], dict) and random.random() < 0.3:
        whole[key][random.choice(["a", "metadata", "error", "createTime"])] = junk(random)
    else:
        whole[key] = junk(random)


def _name(random: Random, pattern: str) -> str:
    """Return a path for a pattern such as `projects/*/locations/*/models/*`, as a rule of this project."""
    if random.random() < 0.1:
        return quote_from_bytes(random.randbytes(9), safe="/:@")
    parts = pattern.split("/")
    for number, part in enumerate(parts):
        if part == "*":
            odd = number > _LOCATION and random.random() < 0.3
            parts[number] = random.choice(_ODD_IDS) if odd else _IDS.get(parts[number - 1], "a")
    return "/".join(parts)


def _path(random: Random, uri: str) -> str:
    path = uri
    while "{" in path:
        head, _, rest = path.partition("{")
        variable, _, tail = rest.partition("}")
        path = f"{head}{_name(random, variable.partition('=')[2] or '*')}{tail}"
    return path


def _query(random: Random, method: Method) -> str:
    fields: list[FieldDescriptor] = list(method.request_type.DESCRIPTOR.fields) if method.request_type else []
    pairs = []
    for _ in range(random.choice([0, 0, 1, 2])):
        name = random.choice([*(field.json_name for field in fields), "x", "a.b", "$alt"])
        value = random.choice(_WORDS.get(name, ["", "1", "true", _NUMBER, "NaN", "\N{SNOWMAN}"]))
        pairs.append(f"{name}={quote_from_bytes(value.encode())}")
    return f"?{'&'.join(pairs)}" if pairs else ""


def _method(random: Random) -> Method:
    return random.choice(random.choice([METHODS, _SUPPORTED, _SUPPORTED, _SUPPORTED, _CREATING, _CREATING]))


def rest_request(random: Random) -> tuple[str, str, bytes]:
    """Return verb, path with query, and body."""
    method = _method(random)
    rule = random.choice(method.rules)
    target = f"{_path(random, rule.uri)}{_query(random, method)}"
    if random.random() < 0.05:
        return (
            rule.verb,
            target,
            random.choice([b"{", b"\xff\xfe", b"[" * 99999, b'{"a":' * 99999, b"1" * 5000]),
        )
    body = copy.deepcopy(_BODIES.get(method.rpc, {}))
    for _ in range(random.choice([0, 0, 1, 2])):
        _spoil(random, body)
    if rule.body not in (None, "*"):
        body = body.get(str(rule.body), body)
    content = json.dumps(body).replace("1.5", random.choice(["1.5", "1.5", "1e400"]))
    return rule.verb, target, b"" if rule.body is None else content.encode()


def grpc_request(random: Random) -> tuple[str, bytes]:
    """Return the path of a method and a request's bytes."""
    method = _method(random)
    if random.random() < 0.05:
        return method.path, random.randbytes(random.randrange(1, 99))
    message: Message = method.request_type() if method.request_type else struct_pb2.Struct()
    body = copy.deepcopy(_BODIES.get(method.rpc, {}))
    for _ in range(random.choice([0, 0, 1])):
        _spoil(random, body)
    for field in message.DESCRIPTOR.fields:
        if field.json_name in _WORDS and random.random() < 0.4:
            body[field.json_name] = random.choice(_WORDS[field.json_name])
        elif field.name in ("parent", "name", "endpoint", "context", "artifact") and not field.message_type:
            body[field.name] = random.choice(
                [PARENT, f"{PARENT}/models/m", f"{PARENT}/endpoints/7", "x", "\0"]
            )
    for key, value in body.items():
        try:
            json.dumps({key: value}, ensure_ascii=False).encode()
            json_format.ParseDict({key: value}, message)
        except (json_format.ParseError, ValueError, TypeError, OverflowError, AttributeError):
            continue
    _spoil_message(random, message)
    return method.path, message.SerializeToString()


def _spoil_message(random: Random, message: Message) -> None:
    """Put what JSON does not have into a message: numbers that are not finite, times out of range."""
    if isinstance(message, struct_pb2.Value) and message.WhichOneof("kind") == "number_value":
        message.number_value = random.choice([1.0, 1.0, float("nan"), float("inf")])
    if message.DESCRIPTOR.full_name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
        message.seconds = random.choice([1, -1, 2**62])
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            inner = list(value.values()) if field.message_type.fields_by_name["value"].message_type else []
        else:
            inner = list(value) if field.is_repeated else [value]
        for each in inner:
            _spoil_message(random, each)
