"""A page of another origin in a real browser, against all servers of the local cloud."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local_gcp.layout import BUCKET, PROJECT
from tests.local_gcp.raw_http import send
from tests.local_vertex.servers import PARENT, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.local_stack import LocalStack
    from tests.local_vertex.servers import Server

CHROMIUM = shutil.which("chromium")
OPTIONS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
REBOUND = "rebound.example"
SECONDS = 120
PAGE = Path(__file__).with_name("evil_page.html").read_text()
ICON = "<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'/>"
JSON = {"Content-Type": "application/json"}

pytestmark = [pytest.mark.stack, pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """The servers, and what an attack would leave in them."""

    stack: LocalStack
    vertex: Server

    @property
    def urls(self) -> dict[str, str]:
        """Their URLs."""
        environment = self.stack.environment
        return {
            "vertex": self.vertex.rest_url,
            "gcs": environment["STORAGE_EMULATOR_HOST"],
            "bigquery": environment["BIGQUERY_EMULATOR_HOST"],
        }

    def left(self) -> dict[str, list[str]]:
        """Return the custom jobs, faults, objects and tables of an attack."""
        _, _, jobs = send(self.vertex.rest_url, f"GET /v1/{PARENT}/customJobs")
        tables = self.stack.bigquery_client().list_tables("pages")
        objects = self.stack.storage_client().list_blobs(BUCKET, prefix="harm")
        return {
            "jobs": [job["name"] for job in json.loads(jobs).get("customJobs", ())],
            "objects": [blob.name for blob in objects],
            "tables": [table.table_id for table in tables],
        }


@pytest.fixture
def cloud(stack: LocalStack, tmp_path: Path) -> Iterator[Cloud]:
    """All servers, with an image that pages would like to see."""
    stack.bigquery_client().create_dataset("pages", exists_ok=True)
    icon = stack.storage_client().bucket(BUCKET).blob("icon.svg")
    icon.upload_from_string(ICON, content_type="image/svg+xml")
    with running_server(tmp_path, faults=True) as vertex:
        yield Cloud(stack=stack, vertex=vertex)


def attacks(urls: Mapping[str, str]) -> dict[str, Any]:
    """Return requests each of which changed or read something on a server without a guard."""
    container = {"imageUri": "taxi-vertex/pipeline:local", "command": ["id"]}
    pool = {"machineSpec": {"machineType": "e2-standard-4"}, "replicaCount": "1", "containerSpec": container}
    job = {"displayName": "harm=", "jobSpec": {"workerPoolSpecs": [pool]}}
    query = {"useLegacySql": False, "query": "CREATE TABLE pages.harm AS SELECT 1 AS x -- ="}
    upload = f"{urls['gcs']}/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=harm"
    return {
        "posts": [
            {"url": f"{urls['vertex']}/v1/{PARENT}/customJobs", "body": json.dumps(job)},
            {"url": upload, "body": "harm="},
            {"url": f"{urls['bigquery']}/bigquery/v2/projects/{PROJECT}/queries", "body": json.dumps(query)},
        ],
        "images": [f"{urls['vertex']}/console/static/icon.svg", f"{urls['gcs']}/{BUCKET}/icon.svg"],
    }


@contextmanager
def evil_page(content: str) -> Iterator[tuple[int, queue.Queue[dict[str, Any]]]]:
    """Serve a page on a port of its own; what it reports comes through the queue."""
    reports: queue.Queue[dict[str, Any]] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(content.encode())

        def do_POST(self) -> None:
            reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield server.server_port, reports
        finally:
            server.shutdown()


def chromium(profile: Path, *arguments: str) -> list[str]:
    """Return the command of a browser to which a public name leads to this machine."""
    rebound = f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1"
    return [
        *(str(CHROMIUM), *OPTIONS.split(), "--disable-features=HttpsUpgrades", rebound),
        *(f"--user-data-dir={profile}", *arguments),
    ]


@pytest.mark.parametrize(
    ("page_host", "server_host"),
    [("127.0.0.1", "127.0.0.1"), (REBOUND, "127.0.0.1"), (REBOUND, REBOUND)],
    ids=["another port", "another site", "rebound"],
)
def test_a_page_elsewhere_does_and_sees_nothing(
    cloud: Cloud, tmp_path: Path, page_host: str, server_host: str
) -> None:
    """Forms of all encodings, fetch and beacons change nothing, and neither images nor bodies can be read."""
    urls = {name: url.replace("127.0.0.1", server_host) for name, url in cloud.urls.items()}
    with evil_page(PAGE.replace("ATTACKS", json.dumps(attacks(urls)))) as (port, reports):
        command = chromium(tmp_path / "profile", f"http://{page_host}:{port}/")
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as browser:
            try:
                report = reports.get(timeout=SECONDS)
            finally:
                browser.terminate()

    assert cloud.left() == {"jobs": [], "objects": [], "tables": []}
    assert report == {"images": [False, False], "texts": [None, None]}


@pytest.mark.parametrize(
    ("name", "path"),
    [("vertex", "/console"), ("gcs", f"/storage/v1/b/{BUCKET}/o"), ("bigquery", "/readyz")],
)
def test_a_rebound_name_reads_nothing(cloud: Cloud, tmp_path: Path, name: str, path: str) -> None:
    """A page whose own name was rebound to a server's address gets an error instead of the answer."""
    url = cloud.urls[name].replace("127.0.0.1", REBOUND)
    command = chromium(tmp_path / "profile", "--dump-dom", f"{url}{path}")
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout

    assert "PERMISSION_DENIED" in dom
    assert f"Host '{url.removeprefix('http://')}' is not an address of this server" in dom


def test_attacks_are_attacks(cloud: Cloud) -> None:
    """The same requests, sent by programs, succeed."""
    for each in attacks(cloud.urls)["posts"]:
        path = each["url"].split("/", 3)[3]
        status, _, _ = send(each["url"], f"POST /{path}", JSON, each["body"])
        assert status == 200
    left = cloud.left()
    cloud.stack.bigquery_client().delete_table("pages.harm")
    cloud.stack.storage_client().bucket(BUCKET).blob("harm").delete()

    assert [len(found) for found in left.values()] == [1, 1, 1]
