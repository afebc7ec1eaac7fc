"""The Google provider's unmodified operators, and what else goes through the proxy."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.api_core.exceptions import ServiceUnavailable
from google.cloud import aiplatform_v1

from local_gcp import certificates, state
from local_gcp.layout import PROJECT, Layout
from local_gcp.services import CLOUD
from local_gcp.stack import Stack
from local_gcp.tls import TLS
from local_gcp.tls_proxy import HOSTS
from local_vertex.domain.states import RunState
from tests.local_vertex.servers import CANONICAL, PARENT, running_server
from tests.local_vertex.test_pipeline_jobs import SPEC

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.local_vertex.servers import Client, Server

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]
SCRIPT = Path(__file__).with_name("stock_operators.py")
REFRESHING = Path(__file__).with_name("refreshing_trigger.py")
SDK_SCRIPT = Path(__file__).with_name("sdk_over_grpc.py")
MONITORING_SCRIPT = Path(__file__).with_name("monitoring_at_google.py")
SDK_REST_SCRIPT = Path(__file__).with_name("sdk_without_project.py")
SUCCEEDED = "PIPELINE_STATE_SUCCEEDED"
SECONDS = 900  # only a hanging client takes so long
GOOGLE = "us-central1-aiplatform.googleapis.com:443"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """Cloud Storage and the proxy of a stack, before a local Vertex AI with fakes."""

    environment: Mapping[str, str]
    layout: Layout
    proxy_port: int
    vertex: Server


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Start them, and end every run but `endless` after a while."""
    layout = Layout(state=tmp_path_factory.mktemp("tls"))
    stack = Stack(layout, declarations=(*CLOUD, TLS))
    ended = threading.Event()
    try:
        stack.up(("gcs", "tls"))
        ports = state.read(layout.stack_file).ports
        with running_server(
            layout.vertex, grpc_port=ports["vertex.grpc"], rest_port=ports["vertex.rest"]
        ) as vertex:
            ending = threading.Thread(target=end_runs, args=(vertex, ended))
            ending.start()
            environment = stack.client_environment()
            yield Cloud(environment=environment, layout=layout, proxy_port=ports["tls"], vertex=vertex)
            ended.set()
            ending.join()
    finally:
        ended.set()
        stack.reset()


def end_runs(vertex: Server, ended: threading.Event) -> None:
    """Let pipeline jobs and custom jobs succeed half a second after they have begun, but for two."""
    done: set[str] = set()
    while not ended.wait(0.5):
        for run in list(vertex.engine.runs):
            if run.job_id not in {"endless", "outlasting", *done}:
                vertex.engine.end(run.name, RunState.SUCCEEDED)
                done.add(run.job_id)
        for job in list(vertex.jobs.runs):
            if job.name not in done:
                vertex.jobs.report(job.name, RunState.SUCCEEDED)
                done.add(job.name)


def printed(script: Path, cloud: Cloud, folder: Path, **variables: str) -> object:
    """Run a script with a compiled pipeline as its argument; return the JSON that it prints last."""
    template = folder / "pipeline.json"
    template.write_text(json.dumps(SPEC))
    environment = {
        **os.environ,
        **cloud.environment,
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        **variables,
    }
    ran = subprocess.run(
        [sys.executable, str(script), str(template)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    if ran.returncode:
        pytest.fail(ran.stdout[-2000:] + ran.stderr[-4000:])
    return json.loads(ran.stdout.splitlines()[-1])


def test_stock_operators(cloud: Cloud, tmp_path: Path) -> None:
    """The provider's operators run, wait, defer, cancel, list, upload, deploy, undeploy and delete."""
    assert printed(SCRIPT, cloud, tmp_path) == {
        "pipelines": {
            "states": [SUCCEEDED, SUCCEEDED, "PIPELINE_STATE_CANCELLED"],
            "listed": ["deferred", "endless", "waited"],
            "left": 2,
        },
        "models": {"split": [100], "left": [0, 0]},
    }


def test_the_sdk_over_grpc(cloud: Cloud, tmp_path: Path) -> None:
    """The SDK's jobs, models and endpoints work over its default transport, at Google's address."""
    assert printed(SDK_SCRIPT, cloud, tmp_path) == {
        "pipelines": {
            "states": [SUCCEEDED, "PIPELINE_STATE_CANCELLED"],
            "experiments": [None, None],
        },
        "custom_job": "JOB_STATE_SUCCEEDED",
        "models": {
            "aliases": ["next"],
            "split": [20, 80],
            "predictions": ["gs://taxi-local/model"],
            "asynchronous": ["gs://taxi-local/model"],
            "deployed": [],
        },
    }


def test_the_sdk_without_a_project(cloud: Cloud, tmp_path: Path) -> None:
    """After an init without a project the SDK speaks REST, also to the local Vertex AI.

    Submitting, it finds that the bucket belongs to the project.
    """
    assert printed(SDK_REST_SCRIPT, cloud, tmp_path) == {
        "transport": "rest",
        "project": PROJECT,
        "endpoints": [],
        "raw": {"predictions": ["gs://taxi-local/model"]},
        "state": SUCCEEDED,
        "errors": [],
    }


def test_cloud_monitoring(cloud: Cloud, tmp_path: Path) -> None:
    """Google's clients for Cloud Monitoring reach the local one at Google's address."""
    assert printed(MONITORING_SCRIPT, cloud, tmp_path) == {
        "at": "monitoring.googleapis.com",
        "series": [],
        "asynchronous": [],
    }


@pytest.fixture
def https(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> requests.Session:
    """A session that knows the output of `env`, and nothing else."""
    for name in ("https_proxy", "no_proxy", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.setenv(name, cloud.environment[name])
    return requests.Session()


def test_rest_of_cloud_storage(https: requests.Session) -> None:
    """A client that knows Cloud Storage by Google's address reaches that of this machine, again and again."""
    url = "https://storage.googleapis.com/storage/v1/b/taxi-local"
    answers = [https.get(url).json()["name"] for _ in range(2)]

    assert answers == ["taxi-local", "taxi-local"]


def test_rest_of_cloud_monitoring(https: requests.Session) -> None:
    """REST for Cloud Monitoring reaches the local one, which says what is missing."""
    answer = https.get("https://monitoring.googleapis.com/v3/projects/taxi-local/timeSeries")

    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert answer.json()["error"]["message"].startswith("filter: it is empty")


def test_rest_of_a_service_that_is_not_here(https: requests.Session) -> None:
    """A Google service that is not part of the local cloud answers that it is not."""
    answer = https.post("https://oauth2.googleapis.com/token", data={"grant_type": "refresh_token"})

    assert answer.status_code == HTTPStatus.NOT_IMPLEMENTED
    assert "oauth2.googleapis.com is not part of the local Google Cloud" in answer.json()["error"]["message"]


def test_https_elsewhere_is_refused(https: requests.Session) -> None:
    """A host that is not Google's is refused, with what to do about it."""
    with pytest.raises(requests.exceptions.ProxyError, match="add them to no_proxy"):
        https.get("https://example.com/")


def test_the_bundle_keeps_other_authorities(cloud: Cloud) -> None:
    """Clients trust our authority beside those that they trust anyway, for hosts that go around the proxy."""
    bundle = Path(cloud.environment["REQUESTS_CA_BUNDLE"]).read_text()

    assert (cloud.layout.tls / "ca.pem").read_text() in bundle
    assert bundle.count("BEGIN CERTIFICATE") > 1


class TokenHandler(BaseHTTPRequestHandler):
    """Answers every request with another token, which lives for a second."""

    def do_POST(self) -> None:
        """Issue a token."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.tokens += 1  # type: ignore[attr-defined]  # TokenServer's
        token = {"access_token": "token", "expires_in": 1, "token_type": "Bearer"}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(token).encode())

    def log_message(self, *_: object) -> None:
        """Log no requests."""


class TokenServer(ThreadingHTTPServer):
    """Counts the tokens that it issues."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), TokenHandler)
        self.tokens = 0


@pytest.fixture
def token_server() -> Iterator[TokenServer]:
    """Stand for Google's server of access tokens."""
    server = TokenServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def service_account_key(token_uri: str) -> dict[str, str]:
    """Return the key of an account whose tokens come from `token_uri`."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": PROJECT,
        "client_email": f"retraining@{PROJECT}.iam.gserviceaccount.com",
        "private_key": private.decode(),
        "token_uri": token_uri,
    }


def end_with_token(vertex: Server, server: TokenServer, number: int, given_up: threading.Event) -> None:
    """Let the job `outlasting` succeed once so many tokens were given."""
    while server.tokens < number and not given_up.wait(0.05):
        pass
    for run in vertex.engine.runs:
        if run.job_id == "outlasting":
            vertex.engine.end(run.name, RunState.SUCCEEDED)


def test_a_wait_outlives_its_token(cloud: Cloud, token_server: TokenServer, tmp_path: Path) -> None:
    """Task and trigger fetch another token whenever theirs runs out, for as long as they wait."""
    key = service_account_key(f"http://127.0.0.1:{token_server.server_port}/token")
    connection = {
        "conn_type": "google_cloud_platform",
        "extra": {"keyfile_dict": json.dumps(key), "project": PROJECT},
    }

    # One for the task's channel, one for the trigger's, and one after that had run out.
    given_up = threading.Event()
    ending = threading.Thread(target=end_with_token, args=(cloud.vertex, token_server, 3, given_up))
    ending.start()
    repository = cloud.layout.repository
    try:
        event = printed(
            REFRESHING,
            cloud,
            tmp_path,
            AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT=json.dumps(connection),
            PYTHONPATH=os.pathsep.join(map(str, (repository, repository / "plugins"))),
        )
    finally:
        given_up.set()
        ending.join()

    assert event == {"ending": "final", "state": "SUCCEEDED", "detail": ""}


def stores(cloud: Cloud, authority: bytes) -> list[str]:
    """Return the names of the metadata stores, asked for by the proxy as a client that trusts `authority`."""
    kind: Client = aiplatform_v1.MetadataServiceClient
    with grpc.secure_channel(
        GOOGLE,
        grpc.ssl_channel_credentials(root_certificates=authority),
        options=[("grpc.http_proxy", f"http://127.0.0.1:{cloud.proxy_port}")],
    ) as opened:
        client = kind(transport=kind.get_transport_class("grpc")(channel=opened))
        return [store.name for store in client.list_metadata_stores(parent=PARENT)]


def test_a_client_reaches_vertex_by_googles_address(cloud: Cloud) -> None:
    """A client of Google's own address speaks TLS to the local Vertex AI."""
    assert stores(cloud, (cloud.layout.tls / "ca.pem").read_bytes()) == [
        f"{CANONICAL}/metadataStores/default"
    ]


def test_a_client_that_does_not_trust_the_authority_is_not_served(cloud: Cloud, tmp_path: Path) -> None:
    """A client that trusts another authority refuses the certificate."""
    certificates.write(tmp_path, HOSTS)

    with pytest.raises(ServiceUnavailable, match="handshake failed"):
        stores(cloud, (tmp_path / "ca.pem").read_bytes())


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("CONNECT example.com:443", "403"),
        ("CONNECT evilgoogleapis.com:443", "403"),
        ("CONNECT storage.googleapis.com:80", "403"),
        ("GET http://example.com/", "405"),
    ],
)
def test_nothing_leaves_the_machine(cloud: Cloud, request_line: str, status: str) -> None:
    """The proxy forwards to no other host, and serves nothing but CONNECT."""
    with socket.create_connection(("127.0.0.1", cloud.proxy_port), timeout=SECONDS) as client:
        client.sendall(f"{request_line} HTTP/1.1\r\n\r\n".encode())
        answer = client.recv(1000).decode()

    assert answer.split()[1] == status


def test_the_variables_come_and_go_with_the_option(cloud: Cloud, tmp_path: Path) -> None:
    """Only a cloud that was started with TLS tells clients of the proxy."""
    plain = Stack(Layout(state=tmp_path), declarations=(*CLOUD, TLS))
    try:
        plain.up(("gcs",))
        without = plain.client_environment()
    finally:
        plain.reset()

    assert cloud.environment["grpc_proxy"] == f"http://127.0.0.1:{cloud.proxy_port}"
    assert "grpc_proxy" not in without


def test_the_key_is_private(cloud: Cloud) -> None:
    """No other user of the machine can read the server's key."""
    assert (cloud.layout.tls / "server.key").stat().st_mode & 0o077 == 0
