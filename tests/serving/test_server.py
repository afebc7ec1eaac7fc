from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.serving.servers import (
    PIPELINE_PYTHON,
    REPOSITORY,
    free_port,
    serving,
    start,
    wait_until_healthy,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.local_stack import LocalStack

pytestmark = [pytest.mark.pipeline, pytest.mark.xdist_group("model_server")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small SavedModel."""
    folder = tmp_path_factory.mktemp("model") / "saved"
    subprocess.run(
        [PIPELINE_PYTHON, "-m", "tests.serving.make_model", folder],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        timeout=120,
    )
    return folder


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[str]:
    """A server's address."""
    with serving(str(model), AIP_HEALTH_ROUTE="/alive", AIP_PREDICT_ROUTE="/ask") as url:
        yield url


def ask(
    url: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Send one request on a connection of its own; return status and answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def instances(*given: object) -> bytes:
    """Write a request's body."""
    return json.dumps({"instances": given}).encode()


def test_predictions_come_in_the_instances_order(server: str) -> None:
    """One fare for each instance, on the route that Vertex AI named."""
    body = instances({"hour": 1, "metres": 500}, {"hour": 2}, {"hour": 3, "metres": None})

    assert ask(server, "POST", "/ask", body) == (200, {"predictions": [1.5, 7.0, 8.0]})


def test_health_is_on_its_route(server: str) -> None:
    """The health route answers 200 once the model answers."""
    assert ask(server, "GET", "/alive") == (200, {"status": "ok"})


@pytest.mark.parametrize(("method", "path"), [("GET", "/health"), ("GET", "/ask"), ("POST", "/alive")])
def test_other_routes_are_not_found(server: str, method: str, path: str) -> None:
    """A route or a method that Vertex AI did not name is 404."""
    assert ask(server, method, path, b"{}" if method == "POST" else None)[0] == 404


def test_bad_instance_is_400_with_the_features_name(server: str) -> None:
    """A client's mistake is 400 and says which feature of which instance."""
    status, answer = ask(server, "POST", "/ask", instances({"hour": 1}, {"metres": 3}))

    assert status == 400
    assert answer["error"]["message"] == (
        "instances[1]: feature 'hour' is missing; give an integer from 0 to 99"
    )


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "rebind.evil.example"}])
@pytest.mark.parametrize(("method", "path"), [("GET", "/alive"), ("POST", "/ask")])
def test_web_pages_are_refused_on_loopback(
    server: str, method: str, path: str, headers: dict[str, str]
) -> None:
    """A page of another origin, or under a name that was rebound to this machine, reads nothing."""
    body = instances({"hour": 1}) if method == "POST" else None

    assert ask(server, method, path, body, headers)[0] == 403


@pytest.mark.parametrize(("hour", "fare"), [(98, "-103.0"), (99, "nan")])
def test_prediction_that_is_no_fare_is_500(server: str, hour: int, fare: str) -> None:
    """A negative fare, or none, is the model's error, which names the instance."""
    status, answer = ask(server, "POST", "/ask", instances({"hour": 1}, {"hour": hour}))

    assert status == 500
    assert f"instances[1]: the model answered {fare} USD, which is not a fare" in answer["error"]["message"]


@pytest.mark.parametrize("value", [b"1e39", b"-1", b"1" + b"0" * 400, b"NaN", b"Infinity", b"1e999"])
def test_value_that_no_float_holds_is_400(server: str, value: bytes) -> None:
    """Values that training cannot have seen are refused by name, and the server keeps running."""
    status, answer = ask(server, "POST", "/ask", b'{"instances": [{"hour": 1, "metres": %s}]}' % value)

    assert status == 400
    assert answer["error"]["message"].startswith("instances[0]: feature 'metres' is ")


@pytest.mark.parametrize("length", ["9" * 5000, "0" * 5000, "100000000"])
def test_length_of_any_size_is_refused_unread(server: str, length: str) -> None:
    """A length of thousands of digits is too large, as any other beyond the limit."""
    status, answer = ask(server, "POST", "/ask", b"", {"Content-Length": length})

    assert status == 413
    assert "send at most 10000000" in answer["error"]["message"]


def test_body_without_a_length_is_refused(server: str) -> None:
    """A chunked body is 411: Vertex AI sends none."""
    assert ask(server, "POST", "/ask", None, {"Transfer-Encoding": "chunked"})[0] == 411


def test_one_connection_serves_many_requests(server: str) -> None:
    """A connection stays open, even after a refusal."""
    connection = http.client.HTTPConnection(urlsplit(server).netloc, timeout=30)
    statuses = []
    for body in (instances({"hour": 1}), b"no JSON", instances({"hour": 2})):
        connection.request("POST", "/ask", body)
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)
    connection.close()

    assert statuses == [200, 400, 200]


def test_concurrent_requests_get_their_own_answers(server: str) -> None:
    """Many clients at once are each answered for their own instance."""
    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(lambda hour: ask(server, "POST", "/ask", instances({"hour": hour})), range(90))
        )

    assert answers == [(200, {"predictions": [hour + 5.0]}) for hour in range(90)]


def test_port_is_open_while_the_model_loads(model: Path) -> None:
    """The server listens at once, and its health is 503 until the model has answered its own request."""
    port = free_port()
    with tempfile.TemporaryFile() as log:
        process = start(str(model), port, log)
        try:
            before = wait_until_healthy(f"http://127.0.0.1:{port}/health", process, log)
        finally:
            process.terminate()
            process.wait(timeout=20)

    assert before == {503}


def test_sigterm_ends_the_process_with_0(model: Path) -> None:
    """A container that is told to stop does so at once and cleanly."""
    port = free_port()
    with tempfile.TemporaryFile() as log:
        process = start(str(model), port, log)
        wait_until_healthy(f"http://127.0.0.1:{port}/health", process, log)
        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=10) == 0


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"AIP_STORAGE_URI": ""}, "AIP_STORAGE_URI is not set"),
        ({"AIP_STORAGE_URI": "/nowhere/at/all"}, "/nowhere/at/all is empty"),
        ({"AIP_STORAGE_URI": str(REPOSITORY / "requirements")}, "instance.json"),
        ({"AIP_STORAGE_URI": "/tmp", "AIP_HTTP_PORT": "http"}, "AIP_HTTP_PORT is 'http'"),  # noqa: S108
        ({"AIP_STORAGE_URI": "/tmp", "AIP_HTTP_PORT": "9" * 5000}, "AIP_HTTP_PORT is '999"),  # noqa: S108
        ({"AIP_STORAGE_URI": "/tmp", "AIP_PREDICT_ROUTE": "ask"}, "begin it with a slash"),  # noqa: S108
    ],
)
def test_wrong_start_is_one_line(environment: dict[str, str], message: str) -> None:
    """A failed start is one last line on stderr, and the process exits with 1."""
    failed = subprocess.run(
        [PIPELINE_PYTHON, "-m", "taxi_ml.serving"],
        cwd=REPOSITORY,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert message in failed.stderr.splitlines()[-1]


@pytest.mark.stack
def test_model_comes_from_cloud_storage(model: Path, stack: LocalStack) -> None:
    """A gs:// address is downloaded whole, assets and variables too, and served."""
    bucket = stack.storage_client().create_bucket("serving-models")
    for path in model.rglob("*"):
        if path.is_file():
            bucket.blob(f"fare/1/{path.relative_to(model)}").upload_from_filename(str(path))

    with serving("gs://serving-models/fare/1/", **stack.environment) as url:
        answer = ask(url, "POST", "/predict", instances({"hour": 4}))

    assert answer == (200, {"predictions": [9.0]})
