"""Time series about predictions, through Google's client for Cloud Monitoring over gRPC, and over REST."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
import requests
from google.api.metric_pb2 import MetricDescriptor as Descriptor
from google.api_core import exceptions
from google.cloud import aiplatform_v1, monitoring_v3
from google.protobuf import json_format, struct_pb2

from local_vertex.__main__ import main
from local_vertex.monitoring.samples import KEPT_SECONDS, Sample, Samples, Sampling, Served
from local_vertex.monitoring.series import METRICS, visible
from local_vertex.store import Store
from tests.local_vertex.servers import PARENT, PROJECT, connect, running_server
from tests.local_vertex.test_endpoints import deploy
from tests.local_vertex.test_models import upload
from tests.local_vertex.test_predictions import instances

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local_vertex.monitoring.series import Metric
    from tests.local_vertex.servers import Client, Server

ONLINE: Final = "aiplatform.googleapis.com/prediction/online"
BEGIN: Final = 1_800_000_000.0
ALIGNER: Final = monitoring_v3.Aggregation.Aligner
REDUCER: Final = monitoring_v3.Aggregation.Reducer


@dataclass
class Clock:
    """A clock in seconds since 1970 that a test moves."""

    now: float = BEGIN

    def __call__(self) -> float:
        """Return the time that was set."""
        return self.now


@dataclass
class Setting:
    """A server with a deployed model, and its clients."""

    server: Server
    clock: Clock
    endpoints: Client
    models: Client
    prediction: Client
    endpoint: str
    deployed: list[str] = field(default_factory=list)

    @property
    def endpoint_id(self) -> str:
        """The last part of the endpoint's name."""
        return self.endpoint.rpartition("/")[2]

    @property
    def client(self) -> monitoring_v3.MetricServiceClient:
        """Google's client, unmodified but for its channel."""
        channel = grpc.insecure_channel(f"127.0.0.1:{self.server.grpc_port}")
        transport = monitoring_v3.MetricServiceClient.get_transport_class("grpc")(channel=channel)
        return monitoring_v3.MetricServiceClient(transport=transport)

    def deploy(self, percent: int) -> str:
        """Deploy a model, with so much of the traffic."""
        split = {"0": percent, **({self.deployed[-1]: 100 - percent} if percent < 100 else {})}
        self.deployed.append(deploy(self.endpoints, self.endpoint, upload(self.models).name, split))
        return self.deployed[-1]

    def predict(self, times: int = 1, count: int = 1) -> None:
        """Ask so many times for predictions of some instances."""
        for _ in range(times):
            self.prediction.predict(endpoint=self.endpoint, instances=instances(count))

    def fail(self, times: int = 1) -> None:
        """Ask so many times what the model refuses."""
        for _ in range(times):
            with pytest.raises(exceptions.BadRequest):
                self.prediction.predict(
                    endpoint=self.endpoint, instances=[json_format.ParseDict({}, struct_pb2.Value())]
                )

    def list(self, metric: str, more: str = "", **options: Any) -> list[monitoring_v3.TimeSeries]:  # noqa: ANN401  # fields of a request
        """Return the time series of a metric since the beginning, by the client."""
        request = {
            "name": f"projects/{PROJECT}",
            "filter": f'metric.type = "{ONLINE}/{metric}"{more}',
            "interval": interval(BEGIN, self.clock.now),
            **options,
        }
        return list(self.client.list_time_series(request=request))


def interval(start: float, end: float) -> dict[str, Any]:
    """Return an interval of times in seconds since 1970."""
    return {
        name: {"seconds": int(at), "nanos": round(at % 1 * 1e9)}
        for name, at in (("start_time", start), ("end_time", end))
    }


def at(seconds: float) -> datetime:
    """Return the time so many seconds after the beginning."""
    return datetime.fromtimestamp(BEGIN + seconds, UTC)


def aligned(aligner: int, seconds: int = 60, **more: Any) -> dict[str, Any]:  # noqa: ANN401  # fields of Aggregation
    """Return an aggregation."""
    return {"per_series_aligner": aligner, "alignment_period": {"seconds": seconds}, **more}


def set_up(server: Server, clock: Clock) -> Setting:
    """Return a setting with one model that has all of the traffic."""
    endpoints = connect(aiplatform_v1.EndpointServiceClient, server, "grpc")
    endpoint = endpoints.create_endpoint(parent=PARENT, endpoint={"display_name": "fares"}).result().name
    setting = Setting(
        server=server,
        clock=clock,
        endpoints=endpoints,
        models=connect(aiplatform_v1.ModelServiceClient, server, "grpc"),
        prediction=connect(aiplatform_v1.PredictionServiceClient, server, "grpc"),
        endpoint=endpoint,
    )
    setting.deploy(100)
    return setting


@pytest.fixture
def clock() -> Clock:
    """Return the clock of the server."""
    return Clock()


@pytest.fixture
def serving(tmp_path: Path, clock: Clock) -> Iterator[Setting]:
    """Return a server whose points are about a minute, and visible ten seconds later."""
    sampling = Sampling(period=60, soonest=10, latest=10, clock=clock)
    with running_server(tmp_path, sampling=sampling) as server:
        yield set_up(server, clock)


def test_a_series_is_the_one_that_google_returns(serving: Setting, clock: Clock) -> None:
    """Labels, kind, type, interval and value are those of an answer that cloud-custodian recorded."""
    serving.predict(times=2)
    clock.now += 3600
    url = f"{serving.server.rest_url}/v3/projects/{PROJECT}/timeSeries"
    query = {
        "filter": f'metric.type = "{ONLINE}/prediction_count" AND '
        f'( resource.labels.endpoint_id = "{serving.endpoint_id}" )',
        "interval.startTime": "2027-01-15T08:00:00Z",
        "interval.endTime": "2027-01-15T09:00:00Z",
        "aggregation.alignmentPeriod": "3600s",
        "aggregation.perSeriesAligner": "ALIGN_SUM",
        "aggregation.crossSeriesReducer": "REDUCE_NONE",
        "view": "FULL",
        "alt": "json",
    }
    answer = requests.get(url, params={name: query[name] for name in query if name != "alt"}, timeout=10)

    assert answer.json() == {
        "timeSeries": [
            {
                "metric": {
                    "labels": {
                        "spot": "false",
                        "deployed_model_id": serving.deployed[0],
                        "model_display_name": "fare",
                        "endpoint_display_name": "fares",
                    },
                    "type": f"{ONLINE}/prediction_count",
                },
                "resource": {
                    "type": "aiplatform.googleapis.com/Endpoint",
                    "labels": {
                        "endpoint_id": serving.endpoint_id,
                        "project_id": PROJECT,
                        "location": "us-central1",
                    },
                },
                "metricKind": "DELTA",
                "valueType": "INT64",
                "points": [
                    {
                        "interval": {"startTime": "2027-01-15T08:00:00Z", "endTime": "2027-01-15T09:00:00Z"},
                        "value": {"int64Value": "2"},
                    }
                ],
            }
        ],
        "unit": "1",
    }


def test_requests_errors_and_instances_are_counted(serving: Setting, clock: Clock) -> None:
    """response_count has requests by class, error_count those without a 2xx, prediction_count instances."""
    serving.predict(times=3, count=2)
    serving.fail(times=2)
    clock.now += 90
    responses = {
        each.metric.labels["response_code"]: each.points[0].value.int64_value
        for each in serving.list("response_count")
    }
    (errors,) = serving.list("error_count")
    (predictions,) = serving.list("prediction_count")

    assert responses == {"2xx": 3, "4xx": 2}
    assert errors.points[0].value.int64_value == 2
    assert predictions.points[0].value.int64_value == 6


def test_requests_are_counted_by_deployed_model(serving: Setting, clock: Clock) -> None:
    """Each deployed model has a series of its own, with the requests that the split gave to it."""
    first, second = serving.deployed[0], serving.deploy(50)
    serving.predict(times=40)
    clock.now += 90
    series = serving.list("response_count", ' AND metric.labels.response_code = "2xx"')
    counts = {each.metric.labels["deployed_model_id"]: each.points[0].value.int64_value for each in series}

    assert set(counts) == {first, second}
    assert sum(counts.values()) == 40


def test_latencies_are_distributions(serving: Setting, clock: Clock) -> None:
    """There are three kinds of latency in milliseconds; the total has the others in it, on average."""
    serving.predict(times=5)
    clock.now += 90
    series = {each.metric.labels["latency_type"]: each for each in serving.list("prediction_latencies")}
    mean = {name: each.points[0].value.distribution_value.mean for name, each in series.items()}
    value = series["total"].points[0].value.distribution_value
    buckets = value.bucket_options.exponential_buckets

    assert set(mean) == {"total", "model", "overhead"}
    assert mean["total"] == pytest.approx(mean["model"] + mean["overhead"])
    assert value.count == sum(value.bucket_counts) == 5
    assert (buckets.num_finite_buckets, buckets.growth_factor, buckets.scale) == (66, 1.4, 1.0)


def test_each_minute_has_a_point_the_newest_first(serving: Setting, clock: Clock) -> None:
    """Points are about minutes of the clock; minutes without a request have none."""
    serving.predict()
    clock.now += 150
    serving.predict(times=3)
    clock.now += 90
    (series,) = serving.list("prediction_count")
    points: list[Any] = [
        (each.interval.start_time, each.interval.end_time, each.value.int64_value) for each in series.points
    ]

    assert points == [(at(120), at(180), 3), (at(0), at(60), 1)]


def test_a_point_is_late(serving: Setting, clock: Clock) -> None:
    """A period's point is not visible before it has been ingested."""
    serving.predict()
    clock.now += 69
    early = serving.list("prediction_count")
    clock.now += 1

    assert early == []
    assert len(serving.list("prediction_count")) == 1


def test_points_of_a_minute_do_not_come_together(clock: Clock) -> None:
    """Between the two delays, each series' points are visible at times of their own, and then stay so."""
    sampling = Sampling(soonest=60, latest=240, clock=clock)
    samples = [Sample(served=served(str(number)), start=BEGIN, end=BEGIN + 60) for number in range(40)]
    errors, predictions = (METRICS[f"{ONLINE}/{name}"] for name in ("error_count", "prediction_count"))
    seen: list[tuple[set[str], set[str]]] = []
    for late in (59, 120, 180, 240):
        clock.now = BEGIN + 60 + late
        seen.append((models_of(errors, samples, sampling), models_of(predictions, samples, sampling)))

    assert [len(each) for each in seen[0]] == [0, 0]
    assert [len(each) for each in seen[-1]] == [40, 40]
    assert all(before <= after for both in zip(*seen, strict=True) for before, after in pairwise(both))
    assert all(first != second for first, second in seen[1:-1])


def served(deployed_model_id: str) -> Served:
    """Return a deployed model."""
    return Served(
        endpoint_id="1",
        endpoint_display_name="e",
        deployed_model_id=deployed_model_id,
        model_display_name="m",
    )


def models_of(metric: Metric, samples: list[Sample], sampling: Sampling) -> set[str]:
    """Return the ids of the deployed models that have a point."""
    series = visible(metric, samples, sampling, project=PROJECT, location="us-central1")
    return {dict(each.metric)["deployed_model_id"] for each in series}


def test_counts_survive_a_restart(tmp_path: Path, clock: Clock) -> None:
    """What was counted before and after a restart in one period is one point."""
    sampling = Sampling(period=60, clock=clock)
    with running_server(tmp_path, sampling=sampling) as server:
        setting = set_up(server, clock)
        setting.predict(times=2)
    with running_server(tmp_path, sampling=sampling) as server:
        setting.server = server
        setting.prediction = connect(aiplatform_v1.PredictionServiceClient, server, "grpc")
        setting.predict(times=3)
        clock.now += 90
        (series,) = setting.list("prediction_count")

    assert [each.value.int64_value for each in series.points] == [5]


def test_an_hour_of_requests_leaves_sixty_samples(tmp_path: Path, clock: Clock) -> None:
    """What is kept grows with time, not with the number of requests."""
    store = Store(tmp_path / "vertex.sqlite")
    samples = Samples(store, Sampling(clock=clock))
    served = Served(endpoint_id="1", endpoint_display_name="e", deployed_model_id="2", model_display_name="m")
    for _ in range(20 * 3600):
        with samples.request(served, time.perf_counter()):
            clock.now += 0.05
    samples.close()
    found = samples.between(BEGIN, clock.now + 60)
    store.close()

    assert len(found) == 60
    assert sum(each.responses["2xx"] for each in found) == 20 * 3600


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--metrics-period", "0"),
        ("--metrics-period", "soon"),
        ("--metrics-delay", "3:1"),
        ("--metrics-delay", "-1"),
        ("--metrics-delay", "1:"),
        ("--metrics-delay", "1:x"),
    ],
)
def test_times_of_points_are_seconds(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is refused with the option's name."""
    with pytest.raises(SystemExit):
        main([f"{option}={value}"])

    assert option in capsys.readouterr().err


def test_old_samples_are_forgotten(serving: Setting, clock: Clock) -> None:
    """Samples are kept for a day."""
    serving.predict()
    clock.now += 90
    serving.list("prediction_count")
    clock.now += KEPT_SECONDS
    serving.predict()
    clock.now += 90
    (series,) = serving.list("prediction_count")

    assert len(series.points) == 1


def test_a_rate_is_a_gauge_per_second(serving: Setting, clock: Clock) -> None:
    """ALIGN_RATE divides by the alignment period, whose end the point has."""
    serving.predict(times=6)
    clock.now += 120
    (series,) = serving.list("prediction_count", aggregation=aligned(ALIGNER.ALIGN_RATE, 120))
    (point,) = series.points

    assert (series.metric_kind, series.value_type) == (Descriptor.GAUGE, Descriptor.DOUBLE)
    assert point.interval.start_time == point.interval.end_time
    assert point.value.double_value == pytest.approx(0.05)


def test_an_error_rate_from_two_queries(serving: Setting, clock: Clock) -> None:
    """Errors over requests, each summed over all series of a deployed model."""
    serving.predict(times=6)
    serving.fail(times=2)
    clock.now += 120
    aggregation = aligned(
        ALIGNER.ALIGN_DELTA,
        120,
        cross_series_reducer=REDUCER.REDUCE_SUM,
        group_by_fields=["metric.labels.deployed_model_id"],
    )
    (errors,) = serving.list("error_count", aggregation=aggregation)
    (answered,) = serving.list("response_count", aggregation=aggregation)

    assert dict(answered.metric.labels) == {"deployed_model_id": serving.deployed[0]}
    assert dict(answered.resource.labels) == {"project_id": PROJECT}
    assert errors.points[0].value.int64_value / answered.points[0].value.int64_value == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("aligner", "reducer"),
    [
        (ALIGNER.ALIGN_PERCENTILE_95, REDUCER.REDUCE_NONE),
        (ALIGNER.ALIGN_DELTA, REDUCER.REDUCE_PERCENTILE_95),
        (ALIGNER.ALIGN_PERCENTILE_95, REDUCER.REDUCE_MAX),
        (ALIGNER.ALIGN_PERCENTILE_95, REDUCER.REDUCE_MEAN),
    ],
)
def test_a_percentile_lies_in_the_bucket_of_its_values(
    serving: Setting, clock: Clock, aligner: int, reducer: int
) -> None:
    """p95 of one deployed model, however it is asked for, is within the buckets that have its values."""
    serving.predict(times=20)
    clock.now += 120
    total = ' AND metric.labels.latency_type = "total"'
    aggregation = aligned(aligner, 120, cross_series_reducer=reducer)
    (series,) = serving.list("prediction_latencies", total, aggregation=aggregation)
    (raw,) = serving.list("prediction_latencies", total)
    last = len(raw.points[0].value.distribution_value.bucket_counts) - 1

    assert (series.metric_kind, series.value_type) == (Descriptor.GAUGE, Descriptor.DOUBLE)
    assert 0 < series.points[0].value.double_value <= 1.4**last


@pytest.mark.parametrize(
    ("more", "found"),
    [
        (' AND metric.labels.deployed_model_id = "{deployed}"', True),
        (' metric.label."deployed_model_id" = "{deployed}"', True),
        (' AND metric.label.deployed_model_id != "{deployed}"', False),
        (' AND NOT metric.labels.deployed_model_id = "{deployed}"', False),
        (' AND -metric.labels.deployed_model_id = "{deployed}"', False),
        (' AND metric.labels.deployed_model_id = one_of("1", "{deployed}")', True),
        (' AND metric.labels.deployed_model_id = starts_with("x")', False),
        (' AND metric.labels.model_display_name = has_substring("ar")', True),
        (' AND metric.labels.model_display_name = ends_with("re")', True),
        (' AND (metric.labels.spot = "true" OR metric.labels.spot = "false")', True),
        (f' AND project = "{PROJECT}" AND resource.type = "aiplatform.googleapis.com/Endpoint"', True),
        (' AND resource.labels.location = "europe-west4"', False),
        (f' AND resource.labels.resource_container = "{PROJECT}"', True),
    ],
)
def test_a_filter_chooses_series(serving: Setting, clock: Clock, more: str, found: bool) -> None:  # noqa: FBT001  # a case of the table
    """Labels are compared as the documentation of monitoring filters says."""
    serving.predict()
    clock.now += 90
    series = serving.list("prediction_count", more.format(deployed=serving.deployed[0]))

    assert bool(series) is found


REFUSED: Final[list[tuple[dict[str, Any], type[Exception], str]]] = [
    ({"filter": ""}, exceptions.InvalidArgument, "filter: it is empty"),
    ({"filter": 'resource.type = "x"'}, exceptions.InvalidArgument, "must have one metric.type"),
    ({"filter": 'metric.type = starts_with("aipl")'}, exceptions.InvalidArgument, "one metric.type"),
    ({"filter": 'metric.type = "a" OR metric.type = "b"'}, exceptions.InvalidArgument, "2 metric types"),
    ({"filter": 'metric.type = "a'}, exceptions.InvalidArgument, "cannot read"),
    ({"filter": 'metric.type = "a" AND (project = "b"'}, exceptions.InvalidArgument, "missing '\\)'"),
    ({"filter": "(" * 60 + 'metric.type = "a"'}, exceptions.InvalidArgument, "nested"),
    ({"filter": 'metric.name = "a"'}, exceptions.InvalidArgument, "'metric.name' is not a field"),
    (
        {"filter": 'metric.type = "a" AND project = monitoring.regex.full_match(".*")'},
        exceptions.MethodNotImplemented,
        "'monitoring.regex.full_match'",
    ),
    (
        {"filter": 'metric.type = "custom.googleapis.com/none"'},
        exceptions.NotFound,
        "Cannot find metric",
    ),
    (
        {"filter": f'metric.type = "{ONLINE}/cpu/utilization"'},
        exceptions.MethodNotImplemented,
        "does not measure",
    ),
    (
        {"filter": f'metric.type = "{ONLINE}/error_count" AND resource.type = "gce_instance"'},
        exceptions.InvalidArgument,
        "valid combination of metric and monitored resource",
    ),
    (
        {"filter": f'metric.type = "{ONLINE}/error_count" AND metric.labels.response_code = "5xx"'},
        exceptions.InvalidArgument,
        "valid combination of metric and monitored resource",
    ),
    ({"interval": {"start_time": {"seconds": 1}}}, exceptions.InvalidArgument, "interval.end_time: required"),
    ({"interval": {"end_time": {"seconds": 1}}}, exceptions.InvalidArgument, "interval.start_time: required"),
    ({"interval": interval(2, 2)}, exceptions.InvalidArgument, "must be earlier than the end"),
    ({"name": "projects/other"}, exceptions.PermissionDenied, "other"),
    ({"name": "folders/1"}, exceptions.MethodNotImplemented, "no organizations and folders"),
    ({"order_by": "x"}, exceptions.InvalidArgument, "order_by"),
    ({"page_size": -1}, exceptions.InvalidArgument, "page_size"),
    ({"page_token": "x"}, exceptions.InvalidArgument, "page_token"),
    (
        {"aggregation": {"per_series_aligner": ALIGNER.ALIGN_SUM}},
        exceptions.InvalidArgument,
        "alignmentPeriod: 0 s is not between 60 s",
    ),
    (
        {"aggregation": aligned(ALIGNER.ALIGN_SUM, 59)},
        exceptions.InvalidArgument,
        "alignmentPeriod: 59 s is not between 60 s",
    ),
    (
        {"aggregation": {"cross_series_reducer": REDUCER.REDUCE_SUM}},
        exceptions.InvalidArgument,
        "REDUCE_SUM needs a perSeriesAligner",
    ),
    (
        {"aggregation": aligned(ALIGNER.ALIGN_PERCENTILE_95)},
        exceptions.InvalidArgument,
        "cannot be applied to metrics with kind DELTA and value type INT64",
    ),
    (
        {"aggregation": aligned(ALIGNER.ALIGN_NEXT_OLDER)},
        exceptions.InvalidArgument,
        "cannot be applied to metrics with kind DELTA",
    ),
    (
        {"aggregation": aligned(ALIGNER.ALIGN_STDDEV)},
        exceptions.MethodNotImplemented,
        "does not align with ALIGN_STDDEV",
    ),
    (
        {"aggregation": aligned(ALIGNER.ALIGN_SUM, cross_series_reducer=REDUCER.REDUCE_STDDEV)},
        exceptions.MethodNotImplemented,
        "REDUCE_STDDEV",
    ),
    (
        {"aggregation": aligned(ALIGNER.ALIGN_SUM, cross_series_reducer=REDUCER.REDUCE_COUNT_TRUE)},
        exceptions.InvalidArgument,
        "cannot be applied to value type INT64",
    ),
    (
        {
            "aggregation": aligned(
                ALIGNER.ALIGN_SUM, cross_series_reducer=REDUCER.REDUCE_SUM, group_by_fields=["model"]
            )
        },
        exceptions.InvalidArgument,
        "improperly formatted",
    ),
    (
        {"secondary_aggregation": aligned(ALIGNER.ALIGN_SUM)},
        exceptions.MethodNotImplemented,
        "does not aggregate twice",
    ),
]


@pytest.mark.parametrize(("fields", "raised", "message"), REFUSED)
def test_what_google_refuses_or_only_google_knows(
    server: Server, fields: dict[str, Any], raised: type[Exception], message: str
) -> None:
    """A wrong request is INVALID_ARGUMENT, one that only the real service answers UNIMPLEMENTED."""
    request = {
        "name": f"projects/{PROJECT}",
        "filter": f'metric.type = "{ONLINE}/prediction_count"',
        "interval": interval(BEGIN, BEGIN + 60),
        **fields,
    }
    channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")
    transport = monitoring_v3.MetricServiceClient.get_transport_class("grpc")(channel=channel)

    with pytest.raises(raised, match=message):
        list(monitoring_v3.MetricServiceClient(transport=transport).list_time_series(request=request))


@pytest.mark.parametrize("view", ["FULL", "HEADERS"])
def test_pages_have_all_series_once(serving: Setting, clock: Clock, view: str) -> None:
    """Pages hold points, or series without points, and together they are the whole answer."""
    for _ in range(3):
        serving.predict()
        serving.fail()
        clock.now += 60
    clock.now += 30
    pages = [
        [(each.metric.labels["response_code"], len(each.points)) for each in page.time_series]
        for page in serving.client.list_time_series(
            request={
                "name": f"projects/{PROJECT}",
                "filter": f'metric.type = "{ONLINE}/response_count"',
                "interval": interval(BEGIN, clock.now),
                "view": view,
                "page_size": 2 if view == "FULL" else 1,
            }
        ).pages
    ]

    expected = {
        "FULL": [[("2xx", 2)], [("2xx", 1), ("4xx", 1)], [("4xx", 2)]],
        "HEADERS": [[("2xx", 0)], [("4xx", 0)]],
    }
    assert pages == expected[view]


def test_short_periods_allow_short_alignment(tmp_path: Path, clock: Clock) -> None:
    """Where points are closer than a minute, so may be the aligned ones."""
    with running_server(tmp_path, sampling=Sampling(period=2, soonest=0, latest=0, clock=clock)) as server:
        setting = set_up(server, clock)
        for _ in range(4):
            setting.predict()
            clock.now += 2
        (series,) = setting.list("prediction_count", aggregation=aligned(ALIGNER.ALIGN_DELTA, 4))

    assert [each.value.int64_value for each in series.points] == [2, 2]
