"""What the hook of Cloud Monitoring reads of deployed models."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from google.api.distribution_pb2 import Distribution

from tests.airflow.servers import connect_to
from vertex_airflow.guards import Histogram
from vertex_airflow.hooks.monitoring import MonitoringHook, histogram_of
from vertex_airflow.hooks.vertex import EndpointError

if TYPE_CHECKING:
    from typing import Any


def test_without_an_address_it_is_googles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The channel is encrypted."""
    connect_to(1, monkeypatch)
    endpoint = MonitoringHook().endpoint

    assert (endpoint.target, endpoint.plaintext) == ("monitoring.googleapis.com:443", False)


def test_a_wrong_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the extra field's name."""
    connect_to(1, monkeypatch, monitoring_endpoint="localhost")

    with pytest.raises(EndpointError, match="monitoring_endpoint 'localhost' of the connection is not a URL"):
        _ = MonitoringHook().endpoint


@pytest.mark.parametrize(
    ("options", "bounds"),
    [
        ({"exponential_buckets": {"num_finite_buckets": 2, "growth_factor": 2, "scale": 500}}, [0.5, 1, 2]),
        ({"linear_buckets": {"num_finite_buckets": 2, "width": 1000, "offset": 500}}, [0.5, 1.5, 2.5]),
        ({"explicit_buckets": {"bounds": [500, 700, 3000]}}, [0.5, 0.7, 3.0]),
    ],
)
def test_buckets_are_in_seconds(options: dict[str, Any], bounds: list[float]) -> None:
    """Cloud Monitoring has milliseconds, and three ways to say what the buckets are."""
    given = Distribution(bucket_options=Distribution.BucketOptions(**options), bucket_counts=[1, 2, 0, 3])

    found = histogram_of(given)

    first, second, third = bounds
    assert found == Histogram(counts={(0.0, first): 1, (first, second): 2, (third, math.inf): 3})
