"""The metric types that are measured, and their time series, made of samples."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from local_vertex.monitoring.distribution import Distribution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from local_vertex.monitoring.samples import Sample, Sampling

Value: TypeAlias = int | float | Distribution
Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Labels and their values, sorted by label."""

RESOURCE_TYPE: Final = "aiplatform.googleapis.com/Endpoint"
RESOURCE_LABELS: Final = frozenset({"project_id", "location", "endpoint_id"})
_PREFIX: Final = "aiplatform.googleapis.com/prediction/online/"
_MODEL_LABELS: Final = frozenset({"deployed_model_id", "model_display_name", "endpoint_display_name", "spot"})


class Kind(StrEnum):
    """The metric kinds of google.api.MetricDescriptor that occur."""

    GAUGE = "GAUGE"
    DELTA = "DELTA"


class ValueType(StrEnum):
    """The value types of google.api.MetricDescriptor that occur."""

    INT64 = "INT64"
    DOUBLE = "DOUBLE"
    DISTRIBUTION = "DISTRIBUTION"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric type of kind DELTA; `values` are those of a sample, by the value of the metric's own label."""

    type: str
    value_type: ValueType
    unit: str
    label: str | None
    values: Callable[[Sample], Mapping[str, Value]]

    @property
    def labels(self) -> frozenset[str]:
        """The labels of its time series."""
        return _MODEL_LABELS | ({self.label} if self.label else set())


METRICS: Final[Mapping[str, Metric]] = {
    metric.type: metric
    for metric in (
        Metric(
            type=f"{_PREFIX}prediction_count",
            value_type=ValueType.INT64,
            unit="1",
            label=None,
            values=lambda sample: {"": sample.predictions},
        ),
        Metric(
            type=f"{_PREFIX}error_count",
            value_type=ValueType.INT64,
            unit="1",
            label=None,
            values=lambda sample: {"": sample.errors},
        ),
        Metric(
            type=f"{_PREFIX}response_count",
            value_type=ValueType.INT64,
            unit="1",
            label="response_code",
            values=lambda sample: sample.responses,
        ),
        Metric(
            type=f"{_PREFIX}prediction_latencies",
            value_type=ValueType.DISTRIBUTION,
            unit="ms",
            label="latency_type",
            values=lambda sample: sample.latencies,
        ),
    )
}
"""The metric types that are measured: https://cloud.google.com/monitoring/api/metrics_gcp_a_b#gcp-aiplatform."""

UNMEASURED: Final = frozenset(
    f"{_PREFIX}{name}"
    for name in (
        "accelerator/duty_cycle",
        "accelerator/memory/bytes_used",
        "cpu/utilization",
        "machine_count",
        "memory/bytes_used",
        "network/received_bytes_count",
        "network/sent_bytes_count",
        "private/prediction_latencies",
        "private/response_count",
        "replicas",
        "target_replicas",
    )
)
"""Metric types that the real service has for endpoints, and that are not measured here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A value for a time interval, in seconds since 1970; that of a gauge begins where it ends."""

    start: float
    end: float
    value: Value


@dataclass(slots=True, kw_only=True)
class Series:
    """A time series; its points are the oldest first."""

    resource: Labels
    metric: Labels
    kind: Kind
    value_type: ValueType
    points: list[Point] = field(default_factory=list)


def visible(
    metric: Metric, samples: Iterable[Sample], sampling: Sampling, *, project: str, location: str
) -> list[Series]:
    """Return the time series of a metric as far as they can be seen by now."""
    now = sampling.clock()
    found: dict[tuple[Labels, Labels], dict[tuple[float, float], Value]] = {}
    for sample in samples:
        if sample.end + _lateness(metric, sample, sampling) > now:
            continue
        for own, value in metric.values(sample).items():
            identity = _identity(metric, sample, own, project, location)
            points = found.setdefault(identity, {})
            interval = sample.start, sample.end
            points[interval] = total((points[interval], value)) if interval in points else value
    return [
        Series(
            resource=resource,
            metric=labels,
            kind=Kind.DELTA,
            value_type=metric.value_type,
            points=[Point(start=start, end=end, value=value) for (start, end), value in points.items()],
        )
        for (resource, labels), points in sorted(found.items())
    ]


def total(values: Iterable[Value]) -> Value:
    """Return the sum of numbers, or one distribution of all that is in the given ones."""
    numbers: list[int | float] = []
    merged = Distribution()
    for value in values:
        if isinstance(value, Distribution):
            merged.merge(value)
        else:
            numbers.append(value)
    return sum(numbers) if numbers else merged


def _lateness(metric: Metric, sample: Sample, sampling: Sampling) -> float:
    """Return after how many seconds a point is visible, the same whenever it is asked for."""
    key = f"{metric.type} {sample.served.deployed_model_id} {sample.end}"
    spread = zlib.crc32(key.encode()) / (1 << 32)
    return sampling.soonest + (sampling.latest - sampling.soonest) * spread


def _identity(metric: Metric, sample: Sample, own: str, project: str, location: str) -> tuple[Labels, Labels]:
    served = sample.served
    labels = {
        "deployed_model_id": served.deployed_model_id,
        "model_display_name": served.model_display_name,
        "endpoint_display_name": served.endpoint_display_name,
        "spot": "false",
        **({metric.label: own} if metric.label else {}),
    }
    resource = {"project_id": project, "location": location, "endpoint_id": served.endpoint_id}
    return tuple(sorted(resource.items())), tuple(sorted(labels.items()))
