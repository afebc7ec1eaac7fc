from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import pytest
from google.api_core import exceptions
from google.protobuf import struct_pb2

from tests.conformance.contract.resources import last

if TYPE_CHECKING:
    from tests.conformance.cloud import Cloud
    from tests.conformance.contract.asking import Asking
    from tests.conformance.contract.resources import Started
    from tests.conformance.target import Client

pytestmark = pytest.mark.stack
ONLINE: Final = "aiplatform.googleapis.com/prediction/online"
_DAY: Final = 24 * 3600
# Points of one period come one after the other, here and on Google (seconds).
_LATEST: Final = 4.0
_LATEST_OF_GOOGLE: Final = 300.0
_ROUTED: Final = (exceptions.FailedPrecondition, exceptions.ServiceUnavailable)


@pytest.fixture(scope="module")
def metrics(cloud: Cloud) -> Client:
    """Return the client of MetricService."""
    if cloud.target.transport == "rest" and cloud.target.endpoint:
        pytest.skip("Cloud Monitoring's client speaks gRPC only")
    return cloud.target.metrics()


def listed(cloud: Cloud, metrics: Client, name: str, more: str = "") -> Client:
    """Return the answer about a metric of the last day."""
    now = int(time.time())
    request: dict[str, Any] = {
        "name": f"projects/{cloud.target.project}",
        "filter": f'metric.type = "{name}"{more}',
        "interval": {"start_time": {"seconds": now - _DAY}, "end_time": {"seconds": now}},
    }
    return metrics.list_time_series(request=request)


@pytest.fixture(scope="module")
def measured(cloud: Cloud, metrics: Client, started: Started) -> dict[str, list[Client]]:
    """Return the time series of an endpoint that has answered seven instances and refused a wrong one."""
    cloud.result(started.deployment)
    instances = [struct_pb2.Value(number_value=number) for number in range(7)]
    wrong = [struct_pb2.Value(string_value="wrong")]
    for sent, raised in ((instances, ()), (wrong, exceptions.InvalidArgument)):
        cloud.until(lambda sent=sent, raised=raised: _is_answered(cloud, started, sent, raised), bool)  # type: ignore[misc]  # a loop's
    endpoint = f' AND resource.labels.endpoint_id = "{last(started.endpoint)}"'
    names = ("prediction_count", "error_count", "response_count", "prediction_latencies")
    seen: dict[str, list[Client]] = {}
    changed = time.monotonic()

    def look() -> bool:
        """Return whether there are points of all metrics, and no more have come for a while."""
        nonlocal seen, changed
        before = seen
        seen = {name: list(listed(cloud, metrics, f"{ONLINE}/{name}", endpoint)) for name in names}
        changed = changed if seen == before else time.monotonic()
        latest = _LATEST if cloud.target.endpoint else _LATEST_OF_GOOGLE
        return all(seen.values()) and time.monotonic() - changed > latest

    cloud.until(look, bool)
    return seen


def _is_answered(cloud: Cloud, started: Started, instances: list[struct_pb2.Value], raised: Any) -> bool:  # noqa: ANN401  # types of errors
    try:
        cloud.predictions.predict(endpoint=started.endpoint, instances=instances, retry=None)
    except _ROUTED:
        return False
    except raised:
        return True
    return not raised


def total(series: list[Client]) -> int:
    """Return the sum of all points."""
    return sum(point.value.int64_value for each in series for point in each.points)


def test_labels(ask: Asking, measured: dict[str, list[Client]]) -> None:
    """A series has the labels of the documented metric and resource."""
    series = measured["response_count"][0]

    ask("monitoring.labels", [sorted(series.metric.labels), sorted(series.resource.labels)])


def test_response_codes(ask: Asking, measured: dict[str, list[Client]]) -> None:
    """Answers and refusals have codes of their own."""
    codes = {each.metric.labels["response_code"] for each in measured["response_count"]}

    ask("monitoring.response-codes", sorted(code for code in codes if code.startswith(("2", "4"))))


def test_instances(ask: Asking, measured: dict[str, list[Client]]) -> None:
    """Predictions of one request are counted one by one."""
    answered = [each for each in measured["response_count"] if each.metric.labels["response_code"][0] == "2"]

    ask("monitoring.instances", total(measured["prediction_count"]) > total(answered))


def test_errors(ask: Asking, measured: dict[str, list[Client]]) -> None:
    """A request that the container refuses is an error."""
    refused = [each for each in measured["response_count"] if each.metric.labels["response_code"][0] == "4"]

    ask("monitoring.errors", total(measured["error_count"]) >= total(refused))


def test_latencies(ask: Asking, measured: dict[str, list[Client]]) -> None:
    """Latencies are distributions with exponential buckets."""
    series = measured["prediction_latencies"]
    options = series[0].points[0].value.distribution_value.bucket_options.exponential_buckets

    ask(
        "monitoring.latencies",
        [
            sorted({each.metric.labels["latency_type"] for each in series}),
            options.num_finite_buckets,
            options.growth_factor,
            options.scale,
        ],
    )


def test_an_unknown_metric(cloud: Cloud, ask: Asking, metrics: Client) -> None:
    """A metric type that does not exist is not found."""
    ask.refused(
        "monitoring.unknown-metric", lambda: list(listed(cloud, metrics, "custom.googleapis.com/conformance"))
    )


def test_an_unknown_label(cloud: Cloud, ask: Asking, metrics: Client) -> None:
    """A filter by a label that the metric does not have is refused."""
    name, more = f"{ONLINE}/error_count", ' AND metric.labels.response_code = "500"'

    ask.refused("monitoring.unknown-label", lambda: list(listed(cloud, metrics, name, more)))


def test_an_interval_without_a_start(cloud: Cloud, ask: Asking, metrics: Client) -> None:
    """A read has both ends of its interval."""
    request = {
        "name": f"projects/{cloud.target.project}",
        "filter": f'metric.type = "{ONLINE}/error_count"',
        "interval": {"end_time": {"seconds": int(time.time())}},
    }

    ask.refused("monitoring.no-start", lambda: list(metrics.list_time_series(request=request)))
