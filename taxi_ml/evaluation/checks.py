"""The anomalies of a run's trips by their statistics: TFDV's, and those that it cannot express.

TFDV judges each split by types, presence and domains. The tags of the reviewed schema add unknown values,
medians and the most common value, and its `skew_comparator` compares the test trips with the training trips
of the same run. TFDV's own comparison of numbers is not used: its ten equally wide buckets depend on the
largest value, so that one long trip moves all others.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from taxi_ml.evaluation import quantiles, tags
from taxi_ml.evaluation.broken_trips import ALLOWED
from taxi_ml.evaluation.distances import jensen_shannon, l_infinity
from taxi_ml.gate.report import Anomaly
from taxi_ml.splits import Split

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from taxi_ml.evaluation.quantiles import Numbers

FEWEST_VALUES: Final = 100
"""Medians, most common values and distances of fewer known values are not judged: they differ by chance."""

_DOMAINS: Final = ("int_domain", "float_domain")


class Kind(StrEnum):
    """The kinds of anomaly that this module finds; TFDV's names where it has one."""

    ABSENT = "FEATURE_TYPE_LOW_FRACTION_PRESENT"
    MEDIAN = "MEDIAN_OUT_OF_RANGE"
    COMMON = "VALUE_TOO_COMMON"
    JENSEN_SHANNON = "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"
    L_INFINITY = "COMPARATOR_L_INFTY_HIGH"


def anomalies(
    reviewed: Any,  # noqa: ANN401  # protobuf messages have no types
    statistics: Mapping[Split, bytes],
    found: Mapping[Split, Any],
) -> Iterator[Anomaly]:
    """Yield all anomalies of a run's splits.

    Args:
        reviewed: the Schema.
        statistics: FeatureStats.pb of each split, with `quantiles.QUANTILES` buckets.
        found: what TFDV finds in each split, an Anomalies message.

    """
    split_numbers = {split: _numbers(reviewed, content) for split, content in statistics.items()}
    for split in statistics:
        yield from _validated(reviewed, split, found[split])
        yield from _out_of_bounds(reviewed, split, split_numbers[split])
    if split_numbers.keys() >= {Split.TRAIN, Split.TEST}:
        yield from _skewed(reviewed, split_numbers[Split.TRAIN], split_numbers[Split.TEST])


def _numbers(reviewed: Any, content: bytes) -> dict[str, Numbers]:  # noqa: ANN401  # as above
    nullable = {feature.name for feature in reviewed.feature if tags.bounds(feature).most_absent is not None}
    values = {
        found.path.step[0]: quantiles.numbers(found, zero_is_unknown=found.path.step[0] in nullable)
        for dataset in statistics_pb2.DatasetFeatureStatisticsList.FromString(content).datasets
        for found in dataset.features
    }
    return {name: each for name, each in values.items() if each is not None}


def _validated(reviewed: Any, split: Split, found: Any) -> Iterator[Anomaly]:  # noqa: ANN401  # as above
    """Yield one anomaly for each reason, each with the kind that TFDV gives it."""
    allowed = {feature.name: _domain(feature) for feature in reviewed.feature}
    entries = sorted(found.anomaly_info.items())
    if found.HasField("dataset_anomaly_info"):
        entries.append(("", found.dataset_anomaly_info))
    for feature, entry in entries:
        for reason in entry.reason:
            kind = anomalies_pb2.AnomalyInfo.Type.Name(reason.type)
            bound = allowed.get(feature) if kind.endswith(("_INT", "_FLOAT")) else None
            said = reason.description if bound is None else reason.description.rstrip(".") + ALLOWED + bound
            yield Anomaly(split=split, feature=feature, description=said, kind=kind)


def _domain(feature: Any) -> str | None:  # noqa: ANN401  # as above
    """Return the range that a number may have, for people; None without one."""
    for name in filter(feature.HasField, _DOMAINS):
        domain = getattr(feature, name)
        low, high = (f"{getattr(domain, end):.12g}" if domain.HasField(end) else "" for end in ("min", "max"))
        return f"{low} to {high}" if low and high else f"{low} or more" if low else f"up to {high}"
    return None


def _out_of_bounds(reviewed: Any, split: Split, values: Mapping[str, Numbers]) -> Iterator[Anomaly]:  # noqa: ANN401  # as above
    for feature in reviewed.feature:
        if feature.name in values:
            for kind, said in _deviations(tags.bounds(feature), values[feature.name]):
                yield Anomaly(split=split, feature=feature.name, description=said, kind=kind)


def _deviations(bounds: tags.Bounds, found: Numbers) -> Iterator[tuple[Kind, str]]:
    if bounds.most_absent is not None and found.absent > bounds.most_absent:
        yield Kind.ABSENT, f"absent in {found.absent:.1%} of the rows{ALLOWED}{bounds.most_absent:.1%}"
    if found.count < FEWEST_VALUES:
        return
    if bounds.median is not None and not bounds.median[0] <= found.median <= bounds.median[1]:
        low, high = bounds.median
        yield Kind.MEDIAN, f"the median is {found.median:.4g}{ALLOWED}{low:g} to {high:g}"
    value, share = max(found.common.items(), key=lambda each: each[1], default=(0.0, 0.0))
    if bounds.most_common is not None and share > bounds.most_common:
        yield (
            Kind.COMMON,
            f"{share:.1%} of the known values are {value:.12g}{ALLOWED}{bounds.most_common:.1%}",
        )


def _skewed(
    reviewed: Any,  # noqa: ANN401  # as above
    train: Mapping[str, Numbers],
    test: Mapping[str, Numbers],
) -> Iterator[Anomaly]:
    for feature in reviewed.feature:
        ours, theirs = train.get(feature.name), test.get(feature.name)
        if ours is None or theirs is None or min(ours.count, theirs.count) < FEWEST_VALUES:
            continue
        comparator = feature.skew_comparator
        for name, kind, measured, distance in (
            (
                "jensen_shannon_divergence",
                Kind.JENSEN_SHANNON,
                "the Jensen-Shannon divergence",
                jensen_shannon(ours.shares(ours.tenths), theirs.shares(ours.tenths)),
            ),
            (
                "infinity_norm",
                Kind.L_INFINITY,
                "the largest difference of a value's share",
                l_infinity(_keyed(ours), _keyed(theirs)),
            ),
        ):
            most = getattr(comparator, name).threshold
            if comparator.HasField(name) and distance > most:
                said = f"{measured} from the training trips is {distance:.3g}{ALLOWED}{most:g}"
                yield Anomaly(split=Split.TEST, feature=feature.name, description=said, kind=kind)


def _keyed(values: Numbers) -> dict[str, float]:
    return {f"{value:g}": share for value, share in values.common.items()}
