"""Labels of images, from a registry on this machine that answers what a test says."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from taxi_airflow.hooks.vertex import VertexHook
from taxi_airflow.images import ImageAddress, ImageError, RegistryError, image_labels

from tests.airflow.conftest import connect_to

if TYPE_CHECKING:
    from collections.abc import Iterator

DIGEST = "sha256:" + "a" * 64
CONFIGURATION = {"config": {"Labels": {"taxi-vertex.code": "1"}}}
MANIFEST = {"config": {"digest": "sha256:c"}}
ARM = {"digest": "sha256:arm", "platform": {"os": "linux", "architecture": "arm64"}}
AMD = {"digest": "sha256:amd", "platform": {"os": "linux", "architecture": "amd64", "variant": "v2"}}


@pytest.fixture
def documents(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Return what the registry answers, by path; the connection leads to it."""
    answers: dict[str, Any] = {}

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers.get(self.path)
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

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
    """The first part is a host when it looks like one; a digest counts more than a tag."""
    address = ImageAddress.parse(image)

    assert (address.registry, address.repository, address.reference) == expected


def test_an_image_for_several_platforms_is_that_for_vertex(documents: dict[str, Any]) -> None:
    """Of an index the image for linux/amd64 counts, which is the one that Vertex AI runs."""
    documents["/v2/host.example/pipeline/manifests/1"] = {"manifests": [ARM, AMD]}
    documents["/v2/host.example/pipeline/manifests/sha256:amd"] = MANIFEST
    documents["/v2/host.example/pipeline/blobs/sha256:c"] = CONFIGURATION

    assert labels("host.example/pipeline:1") == {"taxi-vertex.code": "1"}


def test_an_image_for_another_platform_is_refused(documents: dict[str, Any]) -> None:
    """An image that Vertex AI cannot run is an error before it is tried."""
    documents["/v2/pipeline/manifests/1"] = {"manifests": [ARM]}

    with pytest.raises(ImageError, match="linux/amd64"):
        labels("pipeline:1")


def test_an_image_without_labels_has_none(documents: dict[str, Any]) -> None:
    """Docker writes null where an image has no labels."""
    documents[f"/v2/pipeline/manifests/{DIGEST}"] = MANIFEST
    documents["/v2/pipeline/blobs/sha256:c"] = {"config": {"Labels": None}}

    assert labels(f"pipeline@{DIGEST}") == {}


def test_a_missing_image_keeps_the_code(documents: dict[str, Any]) -> None:
    """What the registry says can be told apart by its code."""
    assert documents == {}
    with pytest.raises(RegistryError, match="pipeline/manifests/1 answered 404") as raised:
        labels("pipeline:1")

    assert raised.value.code == 404
