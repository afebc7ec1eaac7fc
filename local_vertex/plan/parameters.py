"""Types of parameters: from the spec's names to ours, and checks of values against them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from local_vertex.domain.errors import InvalidArgument, Unimplemented
from local_vertex.plan.plan import ParameterDefinition, ParameterType

if TYPE_CHECKING:
    from collections.abc import Mapping

_WHOLE = re.compile(r"-?[0-9]{1,19}")
_LARGEST = 2**63
_LEGACY = {
    pb.PrimitiveType.INT: ParameterType.NUMBER_INTEGER,
    pb.PrimitiveType.DOUBLE: ParameterType.NUMBER_DOUBLE,
    pb.PrimitiveType.STRING: ParameterType.STRING,
}
_PYTHON = {
    ParameterType.STRING: str,
    ParameterType.BOOLEAN: bool,
    ParameterType.LIST: list,
    ParameterType.STRUCT: dict,
    ParameterType.TASK_FINAL_STATUS: dict,
}


def parameter_type(spec: Any, where: str) -> ParameterType:  # noqa: ANN401  # two proto messages have the field
    """Return the type that an input's or output's ParameterSpec declares, in schema 2.0 or 2.1.

    Raises InvalidArgument when it declares none, Unimplemented for one that we don't know.
    """
    if spec.parameter_type:
        name = pb.ParameterType.ParameterTypeEnum.Name(spec.parameter_type)
        if name not in ParameterType.__members__:
            raise Unimplemented(f"{where} has type {name}; supported are {', '.join(ParameterType)}")
        return ParameterType(name)
    if spec.type in _LEGACY:
        return _LEGACY[spec.type]
    raise InvalidArgument(f"{where} has no type; set parameterType (schema 2.1) or type (schema 2.0)")


def definition(spec: Any, where: str) -> ParameterDefinition:  # noqa: ANN401  # generated proto message
    """Return the declaration in a ComponentInputsSpec.ParameterSpec."""
    kind = parameter_type(spec, where)
    default = None
    if spec.HasField("default_value"):
        default = coerce(json_format.MessageToDict(spec.default_value), kind, where)
    return ParameterDefinition(type=kind, default=default, optional=spec.is_optional)


def coerce(value: Any, kind: ParameterType, where: str) -> Any:  # noqa: ANN401  # a JSON value
    """Return `value` as `kind`; numbers of a Struct come as floats. Raises InvalidArgument.

    NaN and Infinity are refused, because a Struct cannot hold them; integers have 64 bits.
    """
    if kind is ParameterType.NUMBER_INTEGER and _is_whole(value):
        return int(value)
    if kind is ParameterType.NUMBER_DOUBLE and _is_number(value):
        return float(value)
    if kind in _PYTHON and isinstance(value, _PYTHON[kind]):
        return value
    raise InvalidArgument(f"{where} is {value!r}, which is not a {kind}; pass a value of that type")


def is_finite(value: float) -> bool:
    """Return whether a double can hold a number, which may be an int of any size."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _is_number(value: object) -> bool:
    # To Python, True is an int; to a Struct, it is not a number.
    return isinstance(value, int | float) and not isinstance(value, bool) and is_finite(value)


def _is_whole(value: Any) -> bool:  # noqa: ANN401  # a JSON value
    # Protobuf's JSON writes an int64 as a string, because a double cannot hold all of them.
    if isinstance(value, str):
        return _WHOLE.fullmatch(value) is not None and abs(int(value)) < _LARGEST
    return _is_number(value) and float(value).is_integer() and abs(value) < _LARGEST


def constant(message: Any) -> Any:  # noqa: ANN401  # ValueOrRuntimeParameter to a JSON value
    """Return the constant in a ValueOrRuntimeParameter (schema 2.0 or 2.1), None when it holds none."""
    match message.WhichOneof("value"):
        case "constant":
            return json_format.MessageToDict(message.constant)
        case "constant_value":
            return legacy_value(message.constant_value)
        case _:
            return None


def legacy_value(message: Any) -> Any:  # noqa: ANN401  # pipeline_spec Value to a JSON value
    """Return the value that a `Value` of schema 2.0 holds."""
    kind = message.WhichOneof("value")
    return None if kind is None else getattr(message, kind)


def bind(definitions: Mapping[str, ParameterDefinition], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run's parameters: given values over defaults.

    Raises InvalidArgument for a name that the pipeline lacks, a value of the wrong type and a missing
    value without default.
    """
    unknown = sorted(set(values) - set(definitions))
    if unknown:
        known = sorted(definitions) or "none"
        raise InvalidArgument(f"runtime parameter '{unknown[0]}' does not exist; the pipeline has {known}")
    return {name: _bound(name, declared, values) for name, declared in definitions.items()}


def _bound(name: str, declared: ParameterDefinition, values: Mapping[str, Any]) -> Any:  # noqa: ANN401
    if name in values:
        return coerce(values[name], declared.type, f"runtime parameter '{name}'")
    if declared.default is None and not declared.optional:
        raise InvalidArgument(
            f"runtime parameter '{name}' has no value and no default; set parameterValues.{name}"
        )
    return declared.default
