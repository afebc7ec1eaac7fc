"""The local Vertex AI against web pages of other origins, which get nothing; programs are not affected."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.local_vertex.servers import PARENT, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.local_vertex.servers import Server

JOBS = f"/v1/{PARENT}/customJobs"
JSON = {"Content-Type": "application/json"}
JOB = json.dumps(
    {
        "displayName": "harm",
        "jobSpec": {
            "workerPoolSpecs": [
                {
                    "machineSpec": {"machineType": "e2-standard-4"},
                    "replicaCount": "1",
                    "containerSpec": {"imageUri": "taxi-vertex/pipeline:local", "command": ["id"]},
                }
            ]
        },
    }
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve with every page that there is, `/faults` too."""
    with running_server(tmp_path_factory.mktemp("guard"), faults=True) as running:
        yield running


def send(
    server: Server, verb: str, path: str, headers: Mapping[str, str], body: str | None = None
) -> tuple[int, dict[str, str], str]:
    """Send a request with exactly these headers, and a Host if they have none; return the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=10)
    try:
        connection.request(verb, path, body, dict(headers))
        answer = connection.getresponse()
        return (
            answer.status,
            {key.lower(): value for key, value in answer.getheaders()},
            answer.read().decode(),
        )
    finally:
        connection.close()


def job_count(server: Server) -> int:
    """Return how many custom jobs there are."""
    return len(json.loads(send(server, "GET", JOBS, {})[2]).get("customJobs", ()))


def error(body: str) -> dict[str, Any]:
    """Return the error in Google's form."""
    found: dict[str, Any] = json.loads(body)["error"]
    return found


@pytest.mark.parametrize(
    ("verb", "path"),
    [("POST", JOBS), ("GET", "/console"), ("POST", "/faults"), ("GET", "/v2/"), ("GET", "/healthz")],
)
@pytest.mark.parametrize(
    "host", ["rebind.evil.example:{port}", "127.0.0.1:1", "127.0.0.1", "127.0.0.1.:{port}"]
)
def test_an_unknown_host_is_refused(server: Server, verb: str, path: str, host: str) -> None:
    """A name that was rebound to this machine is refused on every path."""
    named = host.format(port=server.rest_port)
    status, _, body = send(server, verb, path, {**JSON, "Host": named}, JOB if verb == "POST" else None)

    assert (status, error(body)["status"]) == (403, "PERMISSION_DENIED")
    assert named in error(body)["message"]
    assert job_count(server) == 0


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}"])
def test_names_of_loopback_are_served(server: Server, host: str) -> None:
    """Any of the machine's own names reaches the server."""
    status, _, _ = send(server, "GET", "/console", {"Host": host.format(port=server.rest_port)})

    assert status == 200


def test_a_told_address_is_served(tmp_path: Path) -> None:
    """A published port or a tunnel is served once the server is configured with it."""
    with running_server(tmp_path, addresses=("Tunnel.example:8443",)) as told:
        status, _, _ = send(told, "GET", "/console", {"Host": "tunnel.example:8443"})

    assert status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ],
    ids=str,
)
def test_pages_elsewhere_change_nothing(server: Server, headers: dict[str, str]) -> None:
    """A request that a page of another origin sends is refused, even with the right content type."""
    status, _, body = send(server, "POST", JOBS, {**JSON, **headers}, JOB)

    assert (status, error(body)["status"]) == (403, "PERMISSION_DENIED")
    assert job_count(server) == 0


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None]
)
@pytest.mark.parametrize("path", [JOBS, "/faults"])
def test_a_body_must_be_declared_as_json(server: Server, path: str, kind: str | None) -> None:
    """Bodies that a form or a fetch without preflight can send are refused from any sender."""
    status, _, body = send(server, "POST", path, {"Content-Type": kind} if kind else {}, JOB)

    assert (status, error(body)["status"]) == (415, "INVALID_ARGUMENT")
    assert "Content-Type: application/json" in error(body)["message"]
    assert job_count(server) == 0


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, None),
        ({"Content-Length": "0"}, None),
        ({"Content-Type": "application/json; charset=UTF-8"}, "{}"),
    ],
    ids=["no body", "empty body", "charset"],
)
def test_programs_are_served(server: Server, headers: dict[str, str], body: str | None) -> None:
    """A call without a body needs no content type, and one with a character set is JSON too."""
    status, _, _ = send(server, "POST", f"{JOBS}/1:cancel", headers, body)

    assert status == 404


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, 200),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
    ],
    ids=["link", "own script", "typed", "image", "frame"],
)
def test_pages_are_read_as_documents_only(server: Server, headers: dict[str, str], expected: int) -> None:
    """A link from Airflow opens the console; no page elsewhere embeds anything of it."""
    assert send(server, "GET", "/console", headers)[0] == expected


@pytest.mark.parametrize("path", [JOBS, "/console", "/faults"])
def test_no_preflight_is_answered(server: Server, path: str) -> None:
    """A browser's preflight request for JSON gets no permission."""
    asking = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    status, headers, _ = send(server, "OPTIONS", path, asking)

    assert status == 403
    assert [name for name in headers if name.startswith("access-control-")] == []


@pytest.mark.parametrize("path", ["/console", "/console/static/live.js"])
def test_the_console_is_not_framed_nor_sniffed(server: Server, path: str) -> None:
    """Pages forbid framing, and files forbid sniffing of their type."""
    _, headers, _ = send(server, "GET", path, {})

    assert headers["x-content-type-options"] == "nosniff"
    assert path != "/console" or "frame-ancestors 'none'" in headers["content-security-policy"]
