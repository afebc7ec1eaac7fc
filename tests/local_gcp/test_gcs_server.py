"""The guard of Cloud Storage: who may send, and where names may lead."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_gcp import ports, state
from local_gcp.layout import BUCKET
from tests.local_gcp.raw_http import send
from tests.local_gcp.test_container import REPOSITORY, STOP_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.cloud.storage import Bucket

    from tests.local_stack import LocalStack

pytestmark = pytest.mark.stack

OBJECTS = f"/storage/v1/b/{BUCKET}/o"
UPLOAD = f"/upload{OBJECTS}"
JSON = {"Content-Type": "application/json"}
RELATED = {"Content-Type": "multipart/related; boundary=x"}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
MIXED = {"Content-Type": "multipart/mixed; boundary=x"}
# Two folders up from the bucket is the state folder of the local cloud.
VICTIM = "../../victim"


def related(metadata: str) -> str:
    """Return the body of a multipart upload."""
    return f"--x\r\nContent-Type: application/json\r\n\r\n{metadata}\r\n--x\r\n\r\nharm\r\n--x--\r\n"


@pytest.fixture
def bucket(stack: LocalStack) -> Bucket:
    """The bucket of the project."""
    return stack.storage_client().bucket(BUCKET)


@pytest.fixture
def url(stack: LocalStack) -> str:
    """The URL of Cloud Storage."""
    return stack.environment["STORAGE_EMULATOR_HOST"]


@pytest.fixture
def victim(stack: LocalStack) -> Iterator[Path]:
    """A file outside of Cloud Storage, which looks like an object to fake-gcs-server."""
    file = stack.layout.state / "victim"
    file.write_text("precious")
    os.setxattr(file, "user.metadata", b"{}")
    yield file
    file.unlink()


@pytest.mark.parametrize(
    ("request_line", "headers", "body"),
    [
        (f"POST {UPLOAD}?uploadType=media&name={VICTIM}", {}, "harm"),
        (f"POST {UPLOAD}?uploadType=media&name=%2e%2e%2f..%2Fvictim", {}, "harm"),
        (f"POST {UPLOAD}?uploadType=media&name=a/../b", {}, "harm"),
        (f"POST {UPLOAD}?uploadType=media&name=/etc/victim", {}, "harm"),
        (f"POST {UPLOAD}?uploadType=media&name=ok&name={VICTIM}", {}, "harm"),
        (f"POST {UPLOAD}?uploadType=multipart", RELATED, related(json.dumps({"name": VICTIM}))),
        (f"POST {UPLOAD}?uploadType=multipart", RELATED, related('{"name": "\\u002e\\u002e/../victim"}')),
        (f"POST {UPLOAD}?uploadType=multipart", RELATED, related('{"NAME": "../../victim"}')),
        (f"POST {UPLOAD}?uploadType=multipart", RELATED, related("{")),
        (f"POST {UPLOAD}?uploadType=multipart", RELATED, "--x\r\n"),
        (f"POST {UPLOAD}?uploadType=resumable", JSON, json.dumps({"name": VICTIM})),
        (f"POST {UPLOAD}?uploadType=resumable", JSON, '{"Name": "../../victim"}'),
        (f"POST {UPLOAD}?uploadType=resumable", JSON, '{"bucket": "..", "name": "victim"}'),
        (f"POST {UPLOAD}?uploadType=resumable&name={VICTIM}", {}, None),
        (f"POST {UPLOAD}", {"X-Goog-Upload-Protocol": "resumable"}, json.dumps({"name": VICTIM})),
        (f"POST {OBJECTS}/a/rewriteTo/b/{BUCKET}/o/..%2F..%2Fvictim", JSON, "{}"),
        (f"POST {OBJECTS}/a/copyTo/b/../o/victim", JSON, "{}"),
        (f"POST {OBJECTS}/..%2F..%2Fvictim/compose", JSON, json.dumps({"sourceObjects": [{"name": "a"}]})),
        (f"POST {OBJECTS}/a/compose", JSON, json.dumps({"sourceObjects": [{"name": VICTIM}]})),
        ("POST /storage/v1/b?project=p", JSON, '{"name": ".."}'),
        (f"PATCH {OBJECTS}/..%2F..%2Fvictim", JSON, "{}"),
        (f"GET {OBJECTS}/..%2F..%2Fvictim?alt=media", {}, None),
        (f"GET {OBJECTS}//etc/passwd", {}, None),
        (f"GET /download{OBJECTS}/%2E%2E%2F%2E%2E%2Fvictim?alt=media", {}, None),
        (f"GET /{BUCKET}/../../victim", {}, None),
        ("GET /storage/v1/b/../o", {}, None),
        (f"DELETE {OBJECTS}/..%2F..%2Fvictim", {}, None),
        ("DELETE /storage/v1/b/..", {}, None),
    ],
)
def test_no_name_leads_out_of_the_folder(
    url: str, victim: Path, request_line: str, headers: dict[str, str], body: str | None
) -> None:
    """A name with `..`, or an absolute one, is refused wherever it stands, and nothing happens."""
    status, _, answer = send(url, request_line, headers, body)

    assert (status, json.loads(answer)["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert victim.read_text() == "precious"


def test_what_was_checked_is_what_counts(url: str, bucket: Bucket, victim: Path) -> None:
    """The last of equal keys is checked and kept; an escape that Go would drop is a character."""
    twice = '{"name": "../../victim", "name": "twice"}'
    send(url, f"POST {UPLOAD}?uploadType=multipart", RELATED, related(twice))
    metadata = related(json.dumps({"name": VICTIM}))
    send(url, f"POST {UPLOAD}?uploadType=multipart&name=half%zz", RELATED, metadata)

    assert {"twice", "half%zz"} <= {blob.name for blob in bucket.list_blobs()}
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    ("request_line", "headers"),
    [
        (f"POST /{BUCKET}", FORM),
        (f"PUT /{BUCKET}/signed?X-Goog-Algorithm=x", {}),
        ("POST /_internal/delete_all", {}),
        ("POST /batch/storage/v1", MIXED),
        ("PUT /_internal/config", JSON),
        ("POST /_internal/reseed", {}),
    ],
)
def test_other_apis_are_not_served(url: str, request_line: str, headers: dict[str, str]) -> None:
    """HTML forms, the XML API's uploads, batches and fake-gcs-server's own methods end at the door."""
    status, _, answer = send(url, request_line, headers, "{}")

    assert (status, json.loads(answer)["error"]["status"]) == (501, "UNIMPLEMENTED")


@pytest.mark.parametrize(
    "name", ["a..b", "..a/b", ".hidden/...", "with space+plus", "100 %2F", "Zürich/ü?#&=;"]
)
def test_dots_and_odd_names_are_names(bucket: Bucket, name: str) -> None:
    """Only segments of dots alone are refused: the official client does all it can with other names."""
    folder = uuid.uuid4().hex
    blob = bucket.blob(f"{folder}/{name}")
    blob.upload_from_string(b"content")
    copy = bucket.copy_blob(blob, bucket, f"{folder}/copy of {name}")
    with bucket.blob(f"{folder}/{name}, resumed").open("wb") as stream:
        stream.write(b", more")
    both = bucket.blob(f"{folder}/{name}, both")
    both.compose([copy, bucket.blob(f"{folder}/{name}, resumed")])
    blob.delete()

    assert both.download_as_bytes() == b"content, more"
    assert {each.name for each in bucket.list_blobs(prefix=f"{folder}/")} == {
        f"{folder}/copy of {name}",
        f"{folder}/{name}, resumed",
        f"{folder}/{name}, both",
    }


def test_metadata_may_hold_paths(bucket: Bucket) -> None:
    """Only names are held to the folder: a user's metadata may hold any string."""
    blob = bucket.blob(f"{uuid.uuid4().hex}/object")
    blob.metadata = {"source": "../elsewhere"}
    blob.upload_from_string("content")
    blob.metadata = {"source": "../../elsewhere", "name": "/home/x"}
    blob.patch()
    blob.reload()

    assert blob.metadata == {"source": "../../elsewhere", "name": "/home/x"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Origin": "https://evil.example", "Content-Type": "text/plain"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Content-Type": "text/plain"}, 403),
        ({"Host": "rebind.evil.example", **JSON}, 403),
        ({"Content-Type": "text/plain"}, 415),
    ],
    ids=["origin", "site", "host", "type"],
)
def test_pages_elsewhere_make_no_bucket(url: str, headers: dict[str, str], expected: int) -> None:
    """Requests that a page of another origin can send are refused."""
    status, _, _ = send(url, "POST /storage/v1/b?project=p", headers, '{"name": "harm"}')

    assert status == expected
    assert send(url, "GET /storage/v1/b/harm")[0] == 404


def test_no_page_may_read(url: str) -> None:
    """Answers allow no other origin, whatever fake-gcs-server adds for every one of them."""
    refused, _, _ = send(url, f"GET {OBJECTS}", {"Origin": "https://evil.example"})
    _, headers, _ = send(url, f"GET {OBJECTS}")

    assert refused == 403
    assert [name for name in headers if name.startswith("access-control-")] == []


def test_links_lead_through_the_guard(url: str, bucket: Bucket) -> None:
    """The links in answers are the service's own, not those of the server behind it."""
    blob = bucket.blob(f"{uuid.uuid4().hex}/object")
    blob.upload_from_string("content")

    assert (blob.media_link or "").startswith(f"{url}/")


def test_browsers_cannot_pass_the_guard_by(stack: LocalStack) -> None:
    """fake-gcs-server itself shows a certificate that no browser trusts, and serves no plain HTTP."""
    leader = state.read(stack.layout.stack_file).services["gcs"].pid
    (child,) = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
    words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
    inner = words[words.index("-port") + 1]
    with pytest.raises(urllib.error.URLError) as untrusted:
        urllib.request.urlopen(f"https://localhost:{inner}{OBJECTS}", timeout=10)

    assert isinstance(untrusted.value.reason, ssl.SSLCertVerificationError)
    assert send(f"http://127.0.0.1:{inner}", f"GET {OBJECTS}")[0] == 400


def test_both_servers_end_together(tmp_path: Path) -> None:
    """A guard whose fake-gcs-server dies ends as well, with a status that says so."""
    port = ports.assign(["gcs"], {})["gcs"]
    (tmp_path / "root").mkdir()
    command = [sys.executable, "-m", "local_gcp.gcs_server", "--port", str(port), "--location", "US"]
    command += ["--root", str(tmp_path / "root"), "--certificates", str(tmp_path / "certificates")]
    command += ["--url", f"http://127.0.0.1:{port}"]
    with subprocess.Popen(command, cwd=REPOSITORY) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not (found := children.read_text().split()):
            assert process.poll() is None
        os.kill(int(found[0]), signal.SIGKILL)

        assert process.wait(STOP_SECONDS) == 1
