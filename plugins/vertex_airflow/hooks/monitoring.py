"""The requests, errors and latencies of deployed models, as Cloud Monitoring has them."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.google.common.hooks.base_google import GoogleBaseHook

from vertex_airflow.guards import Histogram, Point
from vertex_airflow.hooks.calls import CALL_TIMEOUT, CHANNEL_OPTIONS, SCOPES
from vertex_airflow.hooks.vertex import ApiEndpoint
from vertex_airflow.polling import ErrorKind, classify

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc
    from google.cloud.monitoring_v3 import MetricServiceClient

_ONLINE: Final = "aiplatform.googleapis.com/prediction/online"
_MILLISECONDS: Final = 1000.0


class MonitoringHook(GoogleBaseHook):
    """Read Cloud Monitoring, with Google's client over gRPC, which is the only transport that it has.

    Extra field of the connection, beside those of every Google Cloud connection:

    - ``monitoring_endpoint``: URL of the gRPC server; ``http`` makes the channel plaintext. Without it,
      ``https://monitoring.googleapis.com``.
    """

    @property
    def endpoint(self) -> ApiEndpoint:
        """The server that the connection names."""
        url = self._get_field("monitoring_endpoint") or "https://monitoring.googleapis.com"
        return ApiEndpoint.parse(url, field="monitoring_endpoint")

    @cached_property
    def channel(self) -> grpc.Channel:
        """The channel of the client; credentials refresh by themselves."""
        import grpc  # noqa: PLC0415  # not at parse time

        if self.endpoint.plaintext:
            return grpc.insecure_channel(self.endpoint.target, options=CHANNEL_OPTIONS)
        channel: grpc.Channel = self._transport().create_channel(
            self.endpoint.target,
            credentials=self.get_credentials(),
            scopes=SCOPES,
            options=CHANNEL_OPTIONS,
        )
        return channel

    @cached_property
    def metrics(self) -> MetricServiceClient:
        """The client of time series."""
        from google.cloud.monitoring_v3 import MetricServiceClient  # noqa: PLC0415  # not at parse time

        transport = self._transport()(host=self.endpoint.target, channel=self.channel)
        return MetricServiceClient(transport=transport)

    def points(
        self, endpoint: str, deployed_models: Sequence[str], *, began: float, until: float
    ) -> list[Point]:
        """Return what deployed models did in the periods of a time, given in seconds since the epoch.

        Requests are the responses of all codes, and errors those that are not of 2xx. Latencies are those
        that a client sees (`total`). Where there were no requests, there is no point.

        :param endpoint: the endpoint's resource name
        """
        if until <= began:
            return []
        asked = " AND ".join(
            (
                f'resource.labels.endpoint_id = "{endpoint.rpartition("/")[2]}"',
                f"metric.labels.deployed_model_id = one_of({', '.join(map(_quoted, deployed_models))})",
            )
        )
        interval = {"start_time": _timestamp(began), "end_time": _timestamp(until)}
        requests: dict[tuple[str, float, float], int] = defaultdict(int)
        errors: dict[tuple[str, float, float], int] = defaultdict(int)
        latencies: dict[tuple[str, float, float], Histogram] = defaultdict(Histogram)
        for series in self._series(f'metric.type = "{_ONLINE}/response_count" AND {asked}', interval):
            wrong = not series.metric.labels["response_code"].startswith("2")
            for period, value in _values(series):
                requests[period] += value.int64_value
                errors[period] += value.int64_value if wrong else 0
        total = 'metric.labels.latency_type = "total"'
        of_latencies = f'metric.type = "{_ONLINE}/prediction_latencies" AND {total} AND {asked}'
        for series in self._series(of_latencies, interval):
            for period, value in _values(series):
                latencies[period] = latencies[period].plus(histogram_of(value.distribution_value))
        return [
            Point(
                deployed_model=period[0],
                began=period[1],
                ended=period[2],
                requests=requests[period],
                errors=errors[period],
                latencies=latencies[period],
            )
            for period in sorted({*requests, *latencies})
        ]

    def close(self) -> None:
        """Close the channel if one was opened."""
        channel = self.__dict__.pop("channel", None)
        if channel is not None:
            channel.close()

    def _series(self, chosen: str, interval: dict[str, Any]) -> list[Any]:
        """Return time series; none of a metric that the project has never had a point of."""
        request = {"name": f"projects/{self.project_id}", "filter": chosen, "interval": interval}
        try:
            return list(self.metrics.list_time_series(request, retry=None, timeout=CALL_TIMEOUT))
        except Exception as error:
            if classify(error) is ErrorKind.MISSING:
                return []
            raise

    @staticmethod
    def _transport() -> Any:  # noqa: ANN401  # a generated transport
        from google.cloud.monitoring_v3.services.metric_service.transports import (  # noqa: PLC0415  # not at parse time
            MetricServiceGrpcTransport,
        )

        return MetricServiceGrpcTransport


def _quoted(label: str) -> str:
    return f'"{label}"'


def _timestamp(moment: float) -> dict[str, int]:
    return {"seconds": int(moment), "nanos": int(moment % 1 * 1e9)}


def _values(series: Any) -> list[tuple[tuple[str, float, float], Any]]:  # noqa: ANN401  # a generated type
    """Return the values of a time series with their model and period."""
    model = series.metric.labels["deployed_model_id"]
    return [
        (
            (model, each.interval.start_time.timestamp(), each.interval.end_time.timestamp()),
            each.value,
        )
        for each in series.points
    ]


def histogram_of(distribution: Any) -> Histogram:  # noqa: ANN401  # a generated type
    """Return a distribution of milliseconds as latencies in seconds."""
    bounds = _bounds(distribution.bucket_options)
    edges = [0.0, *bounds, math.inf]
    return Histogram(
        counts={
            (edges[bucket] / _MILLISECONDS, edges[bucket + 1] / _MILLISECONDS): int(count)
            for bucket, count in enumerate(distribution.bucket_counts)
            if count
        }
    )


def _bounds(options: Any) -> list[float]:  # noqa: ANN401  # a generated type
    """Return the bounds between the buckets: https://cloud.google.com/monitoring/api/ref_v3/rest/v3/TypedValue."""
    if options.WhichOneof("options") == "explicit_buckets":
        return list(options.explicit_buckets.bounds)
    if options.WhichOneof("options") == "linear_buckets":
        linear = options.linear_buckets
        return [linear.offset + linear.width * bucket for bucket in range(linear.num_finite_buckets + 1)]
    exponential = options.exponential_buckets
    buckets = range(exponential.num_finite_buckets + 1)
    return [exponential.scale * exponential.growth_factor**bucket for bucket in buckets]
