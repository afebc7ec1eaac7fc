"""Deployed models that are slow or failing as ordered, and how Cloud Monitoring shows them."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import requests
from google.api_core import exceptions
from google.cloud import aiplatform_v1, monitoring_v3
from google.protobuf import struct_pb2

from local_vertex.__main__ import main
from tests.local_vertex.servers import PROJECT, connect, running_server
from tests.local_vertex.test_endpoints import deploy
from tests.local_vertex.test_models import upload
from tests.local_vertex.test_monitoring import ALIGNER, ONLINE, aligned, interval
from tests.local_vertex.test_predictions import instances
from tests.local_vertex.test_process import predict, serve_model, serving
from tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.local_vertex.servers import Client, Server
    from tests.local_vertex.test_process import Process


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Server]:
    """Return a server that takes orders for faults."""
    with running_server(tmp_path / "faulty", faults=True) as running:
        yield running


@pytest.fixture
def prediction(faulty: Server) -> Client:
    """Return the official client of PredictionService."""
    return connect(aiplatform_v1.PredictionServiceClient, faulty, "grpc")


@pytest.fixture
def serving_two(faulty: Server) -> tuple[str, str, str]:
    """Return an endpoint without traffic for its first deployed model, and the ids of both."""
    endpoints = connect(aiplatform_v1.EndpointServiceClient, faulty, "grpc")
    models = connect(aiplatform_v1.ModelServiceClient, faulty, "grpc")
    parent = f"projects/{PROJECT}/locations/us-central1"
    name = endpoints.create_endpoint(parent=parent, endpoint={"display_name": "e"}).result().name
    model = upload(models, model_id="fare").name
    first = deploy(endpoints, name, model, {"0": 100})
    return name, first, deploy(endpoints, name, model, {first: 0, "0": 100})


def order(server: Server, *arguments: str) -> int:
    """Run the command that orders faults."""
    return main(["fault", "--server", server.rest_url, *arguments])


@pytest.mark.parametrize(
    ("fault", "raised", "message"),
    [
        ("fail=UNAVAILABLE", exceptions.ServiceUnavailable, "fails with UNAVAILABLE, as was ordered"),
        ("fail=INTERNAL:out of memory", exceptions.InternalServerError, "HTTP 500: out of memory"),
        ("fail=RESOURCE_EXHAUSTED", exceptions.TooManyRequests, "RESOURCE_EXHAUSTED"),
        ("garbage", exceptions.InternalServerError, "did not answer valid JSON"),
        ("lose-reply", exceptions.ServiceUnavailable, "closed the connection"),
        ("hang=0", exceptions.ServiceUnavailable, "hung for 0 s"),
    ],
)
def test_a_model_fails_until_the_order_is_dropped(
    faulty: Server, serving_two: tuple[str, str, str], fault: str, raised: type[Exception], message: str
) -> None:
    """Each kind of fault reaches the client as that of a container would."""
    prediction = connect(aiplatform_v1.PredictionServiceClient, faulty, "grpc")
    endpoint, _, second = serving_two
    assert order(faulty, second, fault) == 0
    for _ in range(2):
        with pytest.raises(raised, match=message):
            prediction.predict(endpoint=endpoint, instances=instances(1), retry=None)
    assert order(faulty, "--clear") == 0
    answer = prediction.predict(endpoint=endpoint, instances=instances(1), retry=None)

    assert answer.deployed_model_id == second


@pytest.mark.parametrize(("pattern", "fails"), [("fare@1", True), ("fare@2", False), ("fare@*", True)])
def test_an_order_names_versions(
    faulty: Server,
    prediction: Client,
    serving_two: tuple[str, str, str],
    pattern: str,
    fails: bool,  # noqa: FBT001  # a case of the table
) -> None:
    """A version is ordered for by its model's id, so that it can be before the version is deployed."""
    order(faulty, pattern, "fail=UNAVAILABLE")
    failed = False
    try:
        prediction.predict(endpoint=serving_two[0], instances=instances(1), retry=None)
    except exceptions.ServiceUnavailable:
        failed = True

    assert failed is fails


def test_the_other_model_is_well(
    faulty: Server, prediction: Client, serving_two: tuple[str, str, str]
) -> None:
    """An order is about the models it names only."""
    endpoint, first, _ = serving_two
    order(faulty, first, "fail=UNAVAILABLE")

    assert prediction.predict(endpoint=endpoint, instances=instances(1), retry=None).deployed_model_id


def test_a_share_of_the_requests_fails(
    faulty: Server, prediction: Client, serving_two: tuple[str, str, str]
) -> None:
    """With a share, the other requests are answered."""
    order(faulty, "*", "fail=UNAVAILABLE", "--share", "0.5")
    failed = 0
    for _ in range(60):
        try:
            prediction.predict(endpoint=serving_two[0], instances=instances(1), retry=None)
        except exceptions.ServiceUnavailable:
            failed += 1

    assert 10 < failed < 50


def test_orders_are_listed_and_replaced(faulty: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the orders in force; one more for a pattern replaces that before it."""
    order(faulty, "*", "delay=1")
    order(faulty, "*", "delay=2", "--share", "0.25")
    capsys.readouterr()
    order(faulty)

    assert json.loads(capsys.readouterr().out) == {"deployed_model": "*", "fault": "delay=2", "share": 0.25}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"deployed_model": "*"}, "not an order of a model's fault"),
        ({"deployed_model": "*", "fault": "explode"}, "'explode' is not a fault"),
        ({"deployed_model": "*", "fault": "delay=1", "share": 0}, "share is 0"),
        ({"deployed_model": "*", "fault": "delay=1", "share": 1.1}, "share is 1.1"),
        ({"deployed_model": "*", "fault": "delay=1", "share": None}, "not an order of a model's fault"),
    ],
)
def test_a_wrong_order_is_refused(faulty: Server, body: dict[str, Any], message: str) -> None:
    """What is wrong with an order is INVALID_ARGUMENT."""
    answer = requests.post(f"{faulty.rest_url}/faults", json=body, timeout=10)

    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_the_command_says_what_is_wrong(
    faulty: Server, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong fault, half an order, a server without --faults and no server at all: a line on stderr."""
    codes = [
        order(faulty, "*", "explode"),
        order(faulty, "*"),
        order(server, "*", "delay=1"),
        main(["fault", "--server", "http://127.0.0.1:1", "*", "delay=1"]),
    ]
    lines = capsys.readouterr().err.splitlines()

    assert codes == [1, 1, 1, 1]
    assert [
        part in line
        for part, line in zip(
            ("is not a fault", "write MODEL and FAULT", "start the server with --faults", "does not answer"),
            lines,
            strict=True,
        )
    ] == [True] * 4


def listed(process: Process, metric: str, more: str = "", **fields: Any) -> list[monitoring_v3.TimeSeries]:  # noqa: ANN401  # fields of a request
    """Return the time series of the last hour, by Google's client."""
    channel = grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}")
    transport = monitoring_v3.MetricServiceClient.get_transport_class("grpc")(channel=channel)
    client = monitoring_v3.MetricServiceClient(transport=transport)
    request = {
        "name": f"projects/{PROJECT}",
        "filter": f'metric.type = "{ONLINE}/{metric}"{more}',
        "interval": interval(time.time() - 3600, time.time()),
        **fields,
    }
    return list(client.list_time_series(request=request))


def count(process: Process, metric: str, more: str = "") -> int:
    """Return the sum of all points of a metric."""
    return sum(each.value.int64_value for one in listed(process, metric, more) for each in one.points)


def test_a_real_model_server_is_measured(tmp_path: Path) -> None:
    """Requests to a real server, its slowness and its failures are seen in time, and after a restart."""
    options = ("--faults", "--metrics-period", "0.5", "--metrics-delay", "0:0.5")
    value = struct_pb2.Value(number_value=2)
    with serving(tmp_path, *options) as process:
        endpoint = serve_model(process)
        url = f"http://127.0.0.1:{process.rest_port}"
        for _ in range(10):
            predict(process, endpoint, value)
        main(["fault", "--server", url, "*", "fail=INTERNAL"])
        for _ in range(4):
            with suppress(exceptions.InternalServerError):
                predict(process, endpoint, value)
        main(["fault", "--server", url, "*", "delay=0.3"])
        for _ in range(5):
            predict(process, endpoint, value)
        wait_for(lambda: count(process, "response_count") == 19, 10)
        (latency,) = listed(
            process,
            "prediction_latencies",
            ' AND metric.labels.latency_type = "model"',
            aggregation=aligned(ALIGNER.ALIGN_PERCENTILE_95, 3600),
        )
    with serving(tmp_path, *options) as process:
        wait_for(lambda: count(process, "prediction_count") == 15, 10)
        errors = count(process, "error_count")
        failed = count(process, "response_count", ' AND metric.labels.response_code = "5xx"')

    assert latency.points[0].value.double_value >= 200
    assert errors == failed == 4
