"""The reviewed schema of the trips, and how a run's trips deviate from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from taxi_ml.gate.report import Anomaly
from taxi_ml.gate.schema import Change, SchemaDifference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from taxi_ml.splits import Split

MOST_ABSENT: Final = "most_absent:"
"""The prefix of the tag with the largest share of rows in which a number or an area may be unknown."""
QUANTILES: Final = 100
"""Buckets of the statistics, so that a share of absent numbers is known to one percent."""

_ALWAYS, _SOMETIMES = "in every row", "not in every row"


class SchemaError(ValueError):
    """A string is not a schema that the pipeline can use; the message says what is wrong with it."""


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
        most_absent(feature)
    for name in required:
        if name not in features:
            raise SchemaError(f"it lacks feature {name!r}, which the modules read; describe it")
        if _presence(features[name]) != _ALWAYS or [dim.size for dim in features[name].shape.dim] != [1]:
            raise SchemaError(
                f"feature {name!r}, which the modules read, may not have exactly one value a row; give it "
                "presence { min_fraction: 1.0 } and shape { dim { size: 1 } }"
            )
    return schema


def most_absent(feature: Any) -> float | None:  # noqa: ANN401  # as above
    """Return the share that the feature's tag allows, or None without such a tag; raises SchemaError."""
    for tag in feature.annotation.tag:
        if tag.startswith(MOST_ABSENT):
            try:
                share = float(tag.removeprefix(MOST_ABSENT))
            except ValueError:
                share = -1.0
            if not 0 <= share <= 1:
                raise SchemaError(f"tag {tag!r} of feature {feature.name!r} is not a share; give 0 to 1")
            return share
    return None


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


def absences(split: Split, reviewed: Any, statistics: bytes) -> Iterator[Anomaly]:  # noqa: ANN401  # as above
    """Yield an anomaly for each feature that is unknown in more of a split's rows than the schema allows.

    TFDV cannot see this: an unknown number is written as -1 and an unknown area as 0.
    `statistics` are FeatureStats.pb of the split, with `QUANTILES` buckets.
    """
    bounds = {feature.name: most_absent(feature) for feature in reviewed.feature}
    for dataset in statistics_pb2.DatasetFeatureStatisticsList.FromString(statistics).datasets:
        for found in dataset.features:
            (name,) = found.path.step
            most, share = bounds.get(name), absent_share(found)
            if most is not None and share > most:
                yield Anomaly(
                    split=split,
                    feature=name,
                    description=f"absent in {share:.1%} of the rows; the reviewed schema allows {most:.1%}",
                    kind=anomalies_pb2.AnomalyInfo.Type.Name(
                        anomalies_pb2.AnomalyInfo.FEATURE_TYPE_LOW_FRACTION_PRESENT
                    ),
                )


def absent_share(found: Any) -> float:  # noqa: ANN401  # as above
    """Return the share of unknown values: 0 stands for them in an integer, -1 in a float."""
    numbers = found.num_stats
    count = numbers.common_stats.num_non_missing
    if not count:
        return 0.0
    if not is_float(found):
        return float(numbers.num_zeros / count)
    buckets = [
        bucket
        for histogram in numbers.histograms
        if histogram.type == statistics_pb2.Histogram.QUANTILES
        for bucket in histogram.buckets
    ]
    below = sum(bucket.sample_count for bucket in buckets if bucket.high_value < 0)
    return float(below / count)


def is_float(found: Any) -> bool:  # noqa: ANN401  # as above
    """Return True if a feature's statistics are of floats."""
    return bool(found.type == statistics_pb2.FeatureNameStatistics.FLOAT)
