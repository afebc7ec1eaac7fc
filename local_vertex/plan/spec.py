"""From the wire's PipelineSpec (plain JSON) to kfp's PipelineSpec proto."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from local_vertex.domain.errors import InvalidArgument, Unimplemented

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.message import Message

_SUPPORTED = ("2.0.", "2.1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedSpec:
    """The spec and, parsed out of its Struct, the executors by label."""

    spec: pb.PipelineSpec
    executors: Mapping[str, pb.PipelineDeploymentConfig.ExecutorSpec]


def parse_spec(wire: Mapping[str, Any]) -> ParsedSpec:
    """Parse the PipelineSpec `wire` (IR JSON, camelCase).

    Raises InvalidArgument for an invalid PipelineSpec, Unimplemented for a schema other than 2.0 and 2.1.
    """
    _check_schema_version(wire)
    spec = _parse(wire, pb.PipelineSpec(), "pipelineSpec")
    deployment = _parse(
        json_format.MessageToDict(spec.deployment_spec),
        pb.PipelineDeploymentConfig(),
        "pipelineSpec.deploymentSpec",
    )
    for message, where in ((spec, "pipelineSpec"), (deployment, "pipelineSpec.deploymentSpec")):
        for path, number in _not_finite(message, where):
            raise InvalidArgument(f"{path} is {number}; give a finite number")
    if spec.root.WhichOneof("implementation") != "dag":
        raise InvalidArgument("pipelineSpec.root has no dag; compile a pipeline, not a component")
    return ParsedSpec(spec=spec, executors=dict(deployment.executors))


def _check_schema_version(wire: Mapping[str, Any]) -> None:
    version = wire.get("schemaVersion", "")
    if not isinstance(version, str) or not version:
        raise InvalidArgument(
            "pipelineSpec.schemaVersion is missing; pass the 'pipelineSpec' of a compiled pipeline, "
            f"this one has the keys {sorted(wire)}"
        )
    if not version.startswith(_SUPPORTED):
        raise Unimplemented(f"pipelineSpec.schemaVersion is '{version}'; supported are 2.0.x and 2.1.x")


def _parse(wire: Mapping[str, Any], message: Any, where: str) -> Any:  # noqa: ANN401  # generated protos
    try:
        return json_format.ParseDict(dict(wire), message)
    except (json_format.ParseError, ValueError, TypeError, OverflowError) as error:
        raise InvalidArgument(f"{where} is not a valid PipelineSpec: {error}") from error


def _not_finite(message: Message, path: str) -> Iterator[tuple[str, float]]:
    """Return the paths of numbers that are NaN or infinite: JSON has strings for them in a field."""
    for field, value in message.ListFields():
        inner = f"{path}.{field.json_name}"
        if field.type in (field.TYPE_DOUBLE, field.TYPE_FLOAT):
            numbers = value if field.is_repeated else [value]
            yield from ((inner, number) for number in numbers if not math.isfinite(number))
        elif field.message_type is None:
            continue
        elif field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                for key, item in value.items():
                    yield from _not_finite(item, f"{inner}.{key}")
        else:
            for item in value if field.is_repeated else [value]:
                yield from _not_finite(item, inner)
