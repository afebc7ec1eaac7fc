"""Labels of images, from a registry on this machine that answers what a test says."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from google.oauth2.credentials import Credentials

from local_gcp import certificates
from tests.airflow.servers import connect_to
from vertex_airflow.hooks.vertex import VertexHook
from vertex_airflow.images import (
    ImageAddress,
    ImageError,
    PrivateRegistryError,
    RegistryError,
    image_labels,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DIGEST = "sha256:" + "a" * 64
CONFIGURATION = {"config": {"Labels": {"taxi-vertex.code": "1"}}}
MANIFEST = {"config": {"digest": "sha256:c"}}
ARM = {"digest": "sha256:arm", "platform": {"os": "linux", "architecture": "arm64"}}
AMD = {"digest": "sha256:amd", "platform": {"os": "linux", "architecture": "amd64", "variant": "v2"}}


@pytest.fixture
def documents(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Return the registry's answers by path; the connection points to it."""
    answers: dict[str, Any] = {}

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers.get(self.path)
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    connect_to(1, monkeypatch, registry_endpoint=f"http://127.0.0.1:{server.server_port}/")
    yield answers
    server.shutdown()
    thread.join()
    server.server_close()


def labels(image: str) -> object:
    """Return the image's labels."""
    return image_labels(VertexHook(region="us-central1"), image)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("pipeline", ("", "pipeline", "latest")),
        ("taxi/pipeline:1", ("", "taxi/pipeline", "1")),
        ("host.example/taxi/pipeline:1", ("host.example", "taxi/pipeline", "1")),
        ("host:5000/pipeline", ("host:5000", "pipeline", "latest")),
        ("localhost/pipeline:1", ("localhost", "pipeline", "1")),
        (f"host.example/taxi/pipeline:1@{DIGEST}", ("host.example", "taxi/pipeline", DIGEST)),
    ],
)
def test_an_image_is_read_as_docker_reads_it(image: str, expected: tuple[str, str, str]) -> None:
    """The first part is a host when it looks like one; a digest takes precedence over a tag."""
    address = ImageAddress.parse(image)

    assert (address.registry, address.repository, address.reference) == expected


def test_an_image_for_several_platforms_is_that_for_vertex(documents: dict[str, Any]) -> None:
    """An index stands for its linux/amd64 image, which is the one that Vertex AI runs."""
    documents["/v2/host.example/pipeline/manifests/1"] = {"manifests": [ARM, AMD]}
    documents["/v2/host.example/pipeline/manifests/sha256:amd"] = MANIFEST
    documents["/v2/host.example/pipeline/blobs/sha256:c"] = CONFIGURATION

    assert labels("host.example/pipeline:1") == {"taxi-vertex.code": "1"}


def test_an_image_for_another_platform_is_refused(documents: dict[str, Any]) -> None:
    """An image that Vertex AI cannot run is an error before anything is submitted."""
    documents["/v2/pipeline/manifests/1"] = {"manifests": [ARM]}

    with pytest.raises(ImageError, match="linux/amd64"):
        labels("pipeline:1")


def test_an_image_without_labels_has_none(documents: dict[str, Any]) -> None:
    """Docker writes null where an image has no labels."""
    documents[f"/v2/pipeline/manifests/{DIGEST}"] = MANIFEST
    documents["/v2/pipeline/blobs/sha256:c"] = {"config": {"Labels": None}}

    assert labels(f"pipeline@{DIGEST}") == {}


def test_a_missing_image_keeps_the_code(documents: dict[str, Any]) -> None:
    """The registry's failures are told apart by their status code."""
    assert documents == {}
    with pytest.raises(RegistryError, match="pipeline/manifests/1 answered 404") as raised:
        labels("pipeline:1")

    assert raised.value.code == 404


GOOGLE = ("gcr.io", "eu.gcr.io", "mirror.gcr.io", "us-docker.pkg.dev")
FOREIGN = ("evil.example", "gcr.io.evil.example", "evilgcr.io", "pkg.dev", "x-pkg.dev", "gcr.io:8443")
IMAGE = {
    "/v2/pipeline/manifests/1": MANIFEST,
    "/v2/pipeline/blobs/sha256:c": CONFIGURATION,
}


class Internet:
    """All hosts of the internet: one server on this machine, which records each request and its token."""

    def __init__(self, folder: Path) -> None:
        self.answers: Mapping[str, Any] = dict(IMAGE)
        self.asked: list[tuple[str, str, str]] = []
        self.private = False
        internet = self

        class Registry(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                token = self.headers.get("Authorization", "")
                internet.asked.append((self.headers["Host"].partition(":")[0], self.path, token))
                found = internet.answers.get(self.path)
                moved = isinstance(found, str)
                refused = internet.private and not token
                self.send_response(401 if refused else 302 if moved else 200 if found else 404)
                if moved:
                    self.send_header("Location", str(found))
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        hosts = [host.partition(":")[0] for host in (*GOOGLE, *FOREIGN)]
        certificates.write(folder, hosts)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)

    @property
    def tokens(self) -> set[tuple[str, str]]:
        """The hosts that got a request, each with the token that it was sent."""
        return {(host, token) for host, _, token in self.asked}


@pytest.fixture
def internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Internet]:
    """Return the internet; the connection uses the token `secret` and names no registry."""
    internet = Internet(tmp_path)
    resolve, port = socket.getaddrinfo, internet.server.server_port
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: resolve("127.0.0.1", port))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("NO_PROXY", "*")
    credentials = Credentials("secret")  # type: ignore[no-untyped-call]  # google.auth has none
    monkeypatch.setattr(VertexHook, "get_credentials", lambda _hook: credentials)
    connect_to(1, monkeypatch, registry_endpoint="")
    thread = threading.Thread(target=internet.server.serve_forever)
    thread.start()
    yield internet
    internet.server.shutdown()
    thread.join()
    internet.server.server_close()


@pytest.mark.parametrize("host", GOOGLE)
def test_a_registry_of_google_gets_the_token(internet: Internet, host: str) -> None:
    """Requests to Container Registry and Artifact Registry carry the connection's credentials."""
    found = labels(f"{host}/pipeline:1")

    assert found == {"taxi-vertex.code": "1"}
    assert internet.tokens == {(host, "Bearer secret")}


@pytest.mark.parametrize("host", FOREIGN)
def test_any_other_registry_is_asked_anonymously(internet: Internet, host: str) -> None:
    """A token for all of Google Cloud is never sent to a registry that is not Google's."""
    found = labels(f"{host}/pipeline:1")

    assert found == {"taxi-vertex.code": "1"}
    assert internet.tokens == {(host.partition(":")[0], "")}


@pytest.mark.parametrize("host", ["evil.example#.gcr.io", "evil.example?.gcr.io", "user:p.gcr.io"])
def test_a_registry_that_is_no_host_is_refused(internet: Internet, host: str) -> None:
    """A name that a URL would read as another host gets no request at all."""
    with pytest.raises(ImageError, match="is not a host name"):
        labels(f"{host}/pipeline:1")

    assert internet.asked == []


def test_a_redirect_does_not_carry_the_token_on(internet: Internet) -> None:
    """Registries redirect to storage elsewhere for blobs: that request is anonymous."""
    internet.answers = {
        "/v2/pipeline/manifests/1": MANIFEST,
        "/v2/pipeline/blobs/sha256:c": "https://evil.example/blob",
        "/blob": CONFIGURATION,
    }

    found = labels("gcr.io/pipeline:1")

    assert found == {"taxi-vertex.code": "1"}
    assert internet.tokens == {("gcr.io", "Bearer secret"), ("evil.example", "")}


def test_a_private_registry_that_is_not_googles_cannot_be_checked(internet: Internet) -> None:
    """A host that asks for a token is not sent it either."""
    internet.private = True
    with pytest.raises(PrivateRegistryError, match=r"evil\.example requires credentials"):
        labels("evil.example/pipeline:1")

    assert internet.tokens == {("evil.example", "")}


def test_the_registry_of_the_connection_gets_the_token(
    internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry that the connection names gets the connection's credentials."""
    connect_to(1, monkeypatch, registry_endpoint="https://evil.example")
    internet.answers = {
        f"/v2/other.example{path.removeprefix('/v2')}": found for path, found in IMAGE.items()
    }

    assert labels("other.example/pipeline:1") == {"taxi-vertex.code": "1"}
    assert internet.tokens == {("evil.example", "Bearer secret")}
