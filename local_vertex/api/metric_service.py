"""MetricService of Cloud Monitoring: the time series about predictions."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import TYPE_CHECKING, Final

from google.api import distribution_pb2, metric_pb2
from google.cloud import monitoring_v3

from local_vertex.domain.errors import InvalidArgument, NotFound, Unimplemented
from local_vertex.monitoring import filters
from local_vertex.monitoring.aggregation import Aggregation, align, reduce_all
from local_vertex.monitoring.distribution import FINITE_BUCKETS, GROWTH, SCALE, Distribution
from local_vertex.monitoring.series import METRICS, RESOURCE_LABELS, RESOURCE_TYPE, UNMEASURED, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local_vertex.api.messages import Message
    from local_vertex.api.region import Region
    from local_vertex.monitoring.filters import Filter
    from local_vertex.monitoring.samples import Samples, Sampling
    from local_vertex.monitoring.series import Metric, Point, Series

SHORTEST_PERIOD: Final = 60.0
"""The shortest alignment period of the real service, in seconds."""
_LARGEST_PAGE: Final = 100_000
_NANOSECONDS: Final = 10**9
_RESPONSE: Final = monitoring_v3.ListTimeSeriesResponse.pb()
_ALIGNER: Final = monitoring_v3.Aggregation.Aligner
_REDUCER: Final = monitoring_v3.Aggregation.Reducer
_HEADERS: Final = int(monitoring_v3.ListTimeSeriesRequest.TimeSeriesView.HEADERS)
# The documentation names the project's label resource_container, answers name it project_id.
_ALIASES: Final = {"resource.labels.resource_container": "resource.labels.project_id"}


class MetricService:
    """Answers google.monitoring.v3.MetricService for the metric types in `METRICS`."""

    def __init__(self, region: Region, samples: Samples, sampling: Sampling) -> None:
        self._region = region
        self._samples = samples
        self._sampling = sampling

    def list_time_series(self, request: Message) -> Message:
        """Answer ListTimeSeries.

        While points are closer to each other than a minute, so may be the aligned ones.
        """
        self._check_project(request.name)
        chosen = filters.parse(request.filter)
        metric = _metric(chosen)
        start, end = _interval(request)
        how = _aggregation(request)
        how.check(metric.value_type, shortest=min(SHORTEST_PERIOD, self._sampling.period))
        if request.order_by:
            raise InvalidArgument.of("order_by", "unsupported; it must be left blank")
        if request.page_size < 0:
            raise InvalidArgument.of("page_size", f"{request.page_size} is negative")
        series = [each for each in self._raw(metric, how, start, end) if chosen.keeps(_fields(metric, each))]
        if how.aligns:
            aligned = (align(each, how, start=start, end=end) for each in series)
            series = reduce_all([each for each in aligned if each.points], how)
        response = _RESPONSE(unit=f"{metric.unit}/s" if how.aligner == "ALIGN_RATE" else metric.unit)
        _fill(response, request, metric, series)
        return response

    def _check_project(self, name: str) -> None:
        """Refuse what is not the local project's; raises as `Region.canonical`."""
        if name.startswith(("organizations/", "folders/")):
            raise Unimplemented(f"'{name}': the local Cloud Monitoring has no organizations and folders")
        self._region.canonical(f"{name}/locations/{self._region.project.region}")

    def _raw(self, metric: Metric, how: Aggregation, start: float, end: float) -> list[Series]:
        since = start - how.period if how.aligns else start
        project = self._region.project
        return visible(
            metric,
            self._samples.between(since, end),
            self._sampling,
            project=project.id,
            location=project.region,
        )


def _metric(chosen: Filter) -> Metric:
    """Return the filter's metric; raises in the service's own words for what the service does not have."""
    if chosen.metric_type in UNMEASURED:
        raise Unimplemented(f"the local Cloud Monitoring does not measure '{chosen.metric_type}'")
    metric = METRICS.get(chosen.metric_type)
    if metric is None:
        raise NotFound(
            f'Cannot find metric(s) that match type = "{chosen.metric_type}". If a metric was created '
            "recently, it could take up to 10 minutes to become available. Please try again soon."
        )
    known = {filters.METRIC_TYPE, "resource.type", "project", *_ALIASES}
    known |= {f"metric.labels.{name}" for name in metric.labels}
    known |= {f"resource.labels.{name}" for name in RESOURCE_LABELS}
    if not chosen.selectors <= known or not chosen.resource_types <= {RESOURCE_TYPE}:
        raise InvalidArgument(
            "The supplied filter does not specify a valid combination of metric and monitored resource "
            "descriptors. The query will not return any time series."
        )
    return metric


def _interval(request: Message) -> tuple[float, float]:
    """Return the interval as seconds since 1970: its start is excluded, its end included."""
    for name in ("end_time", "start_time"):
        if not request.interval.HasField(name):
            raise InvalidArgument.of(f"interval.{name}", "required; the interval of a read has both ends")
    start, end = (
        each.seconds + each.nanos / _NANOSECONDS
        for each in (request.interval.start_time, request.interval.end_time)
    )
    if start >= end:
        raise InvalidArgument.of("interval.start_time", "must be earlier than the end time")
    return start, end


def _aggregation(request: Message) -> Aggregation:
    if request.HasField("secondary_aggregation"):
        raise Unimplemented(
            "the local Cloud Monitoring does not aggregate twice; leave secondary_aggregation"
        )
    asked = request.aggregation
    try:
        aligner, reducer = _ALIGNER(asked.per_series_aligner), _REDUCER(asked.cross_series_reducer)
    except ValueError as error:
        raise InvalidArgument.of("aggregation", str(error)) from error
    return Aggregation(
        aligner=aligner.name,
        period=asked.alignment_period.seconds + asked.alignment_period.nanos / _NANOSECONDS,
        reducer=reducer.name,
        group_by=tuple(asked.group_by_fields),
    )


def _fields(metric: Metric, series: Series) -> filters.Fields:
    fields = {filters.METRIC_TYPE: metric.type, "resource.type": RESOURCE_TYPE}
    fields |= {f"metric.labels.{name}": value for name, value in series.metric}
    fields |= {f"resource.labels.{name}": value for name, value in series.resource}
    project = fields["resource.labels.project_id"]
    return fields | dict.fromkeys(("project", *_ALIASES), project)


def _fill(response: Message, request: Message, metric: Metric, series: Sequence[Series]) -> None:
    """Put a page into the answer: points, the newest of each series first, or series without points."""
    headers = request.view == _HEADERS
    sizes = [1 if headers else len(each.points) for each in series]
    begin = _skipped(request)
    end = begin + min(request.page_size or _LARGEST_PAGE, _LARGEST_PAGE)
    before = 0
    for each, size in zip(series, sizes, strict=True):
        first, last = max(begin - before, 0), min(end - before, size)
        before += size
        if first < last:
            message = _header(response.time_series.add(), metric, each)
            for point in () if headers else each.points[::-1][first:last]:
                _put_point(message.points.add(), point)
    if end < before:
        response.next_page_token = _token(request, end)


def _header(message: Message, metric: Metric, series: Series) -> Message:
    message.metric.type = metric.type
    message.metric.labels.update(series.metric)
    message.resource.type = RESOURCE_TYPE
    message.resource.labels.update(series.resource)
    message.metric_kind = metric_pb2.MetricDescriptor.MetricKind.Value(series.kind)
    message.value_type = metric_pb2.MetricDescriptor.ValueType.Value(series.value_type)
    return message


def _put_point(message: Message, point: Point) -> None:
    for field, at in ((message.interval.start_time, point.start), (message.interval.end_time, point.end)):
        field.FromMicroseconds(round(at * 1_000_000))
    match point.value:
        case Distribution() as value:
            message.value.distribution_value.CopyFrom(_distribution(value))
        case int(number):
            message.value.int64_value = number
        case number:
            message.value.double_value = number


def _distribution(value: Distribution) -> distribution_pb2.Distribution:
    buckets = range(max(value.buckets, default=-1) + 1)
    return distribution_pb2.Distribution(
        count=value.count,
        mean=value.mean,
        sum_of_squared_deviation=value.deviation,
        bucket_options=distribution_pb2.Distribution.BucketOptions(
            exponential_buckets=distribution_pb2.Distribution.BucketOptions.Exponential(
                num_finite_buckets=FINITE_BUCKETS, growth_factor=GROWTH, scale=SCALE
            )
        ),
        bucket_counts=[value.buckets[bucket] for bucket in buckets],
    )


def _query(request: Message) -> str:
    """Return what identifies a request up to its page."""
    same = type(request)()
    same.CopyFrom(request)
    same.ClearField("page_token")
    same.ClearField("page_size")
    return hashlib.sha256(same.SerializeToString(deterministic=True)).hexdigest()[:16]


def _token(request: Message, position: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([_query(request), position]).encode()).decode()


def _skipped(request: Message) -> int:
    """Return how many points, or series, were on earlier pages."""
    if not request.page_token:
        return 0
    try:
        content = json.loads(base64.urlsafe_b64decode(request.page_token))
    except (binascii.Error, ValueError, RecursionError):
        content = None
    match content:
        case [query, int(position)] if query == _query(request) and position >= 0:
            return position
    raise InvalidArgument.of("page_token", "it is not the next_page_token of the same request")
