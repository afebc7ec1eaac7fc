"""The reviewed schema of the trips, and how it differs from the one that a run's trips suggest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from taxi_ml.evaluation.tags import SchemaError, bounds
from taxi_ml.gate.schema import Change, SchemaDifference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ALWAYS, _SOMETIMES = "in every row", "not in every row"


def parse(text: str | bytes, *, required: Iterable[str] = ()) -> Any:  # noqa: ANN401  # protobuf messages
    """Return the Schema of a schema.pbtxt, in which each of `required` has one value in every row.

    Raises:
        SchemaError: naming the line, the tag or the feature.

    """
    try:
        schema = text_format.Parse(text, schema_pb2.Schema())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise SchemaError(f"not a schema in protobuf's text format: {error}") from error
    features = {feature.name: feature for feature in schema.feature}
    for feature in schema.feature:
        bounds(feature)
    for name in required:
        if name not in features:
            raise SchemaError(f"it lacks feature {name!r}, which the modules read; describe it")
        if _presence(features[name]) != _ALWAYS or [dim.size for dim in features[name].shape.dim] != [1]:
            raise SchemaError(
                f"feature {name!r}, which the modules read, may not have exactly one value a row; give it "
                "presence { min_fraction: 1.0 } and shape { dim { size: 1 } }"
            )
    return schema


def differences(reviewed: Any, inferred: Any) -> tuple[SchemaDifference, ...]:  # noqa: ANN401  # as above
    """Return what is new, missing, of another type or presence in the inferred schema, by feature."""
    ours, found = ({each.name: each for each in schema.feature} for schema in (reviewed, inferred))
    return tuple(
        difference
        for name in sorted({*ours, *found})
        for difference in _differences(name, ours.get(name), found.get(name))
    )


def _differences(name: str, reviewed: Any, inferred: Any) -> Iterator[SchemaDifference]:  # noqa: ANN401  # as above
    sides = [(Change.TYPE, _type), (Change.PRESENCE, _presence)]
    if reviewed is None or inferred is None:
        sides = [(Change.NEW if reviewed is None else Change.MISSING, _type)]
    for change, shown in sides:
        expected, seen = (shown(each) if each is not None else "" for each in (reviewed, inferred))
        if expected != seen:
            yield SchemaDifference(feature=name, change=change, reviewed=expected, inferred=seen)


def _type(feature: Any) -> str:  # noqa: ANN401  # as above
    name: str = schema_pb2.FeatureType.Name(feature.type)
    return name


def _presence(feature: Any) -> str:  # noqa: ANN401  # as above
    return _ALWAYS if feature.presence.min_fraction == 1 else _SOMETIMES
