"""Cloud Storage of the local cloud, through Google's client."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest
from google.api_core.exceptions import PreconditionFailed

from local_gcp.layout import BUCKET
from local_vertex import gcs_objects
from local_vertex.api.region import PROJECT_NUMBER

if TYPE_CHECKING:
    from pathlib import Path

    from google.cloud.storage import Bucket

    from tests.local_stack import LocalStack

pytestmark = pytest.mark.stack


@pytest.fixture
def bucket(stack: LocalStack) -> Bucket:
    """The bucket of the project."""
    return stack.storage_client().bucket(BUCKET)


@pytest.fixture
def folder() -> str:
    """An unused folder of the bucket."""
    return f"tests/{uuid.uuid4().hex}"


@pytest.fixture
def disk(stack: LocalStack, folder: str) -> Path:
    """The same folder on disk."""
    path = stack.layout.gcs_root / BUCKET / folder
    path.mkdir(parents=True)
    return path


def test_a_bucket_is_of_the_project(stack: LocalStack) -> None:
    """A bucket has its project's number, by itself and in a list: clients check the owner by it."""
    client = stack.storage_client()
    numbers = [
        client.get_bucket(BUCKET).project_number,
        *(each.project_number for each in client.list_buckets()),
    ]

    assert set(numbers) == {int(PROJECT_NUMBER)}


def test_resumable_upload(bucket: Bucket, folder: str) -> None:
    """A file that is uploaded in several chunks comes back as it was."""
    content = os.urandom(3 * 262144 + 17)
    blob = bucket.blob(f"{folder}/large.bin", chunk_size=262144)
    with blob.open("wb", chunk_size=262144) as stream:
        stream.write(content)

    assert bucket.blob(f"{folder}/large.bin").download_as_bytes() == content


def test_create_only_precondition(bucket: Bucket, folder: str) -> None:
    """With generation 0 as the condition, an object that exists is not overwritten."""
    bucket.blob(f"{folder}/once").upload_from_string("first", if_generation_match=0)
    with pytest.raises(PreconditionFailed):
        bucket.blob(f"{folder}/once").upload_from_string("second", if_generation_match=0)

    assert bucket.blob(f"{folder}/once").download_as_text() == "first"


def test_upload_of_a_known_generation(bucket: Bucket, folder: str) -> None:
    """An overwrite that names the current generation succeeds, one that names an older one fails."""
    blob = bucket.blob(f"{folder}/object")
    blob.upload_from_string("one")
    first = blob.generation
    blob.upload_from_string("two", if_generation_match=first)
    with pytest.raises(PreconditionFailed):
        blob.upload_from_string("three", if_generation_match=first)

    assert blob.download_as_text() == "two"


def test_adopted_folder_is_listed_and_downloaded(
    stack: LocalStack, bucket: Bucket, folder: str, disk: Path
) -> None:
    """Files written straight to disk become objects, with checksums that the client verifies."""
    (disk / "deep").mkdir()
    (disk / "a.csv").write_text("x\n1\n")
    (disk / "deep" / "saved_model.pb").write_bytes(b"\0\1")
    adopted = gcs_objects.adopt(stack.layout.gcs_root, disk)
    contents = {blob.name: blob.download_as_bytes() for blob in bucket.list_blobs(prefix=folder)}

    assert adopted == 2
    assert contents == {f"{folder}/a.csv": b"x\n1\n", f"{folder}/deep/saved_model.pb": b"\0\1"}


def test_adopted_object_has_a_content_type(
    stack: LocalStack, bucket: Bucket, folder: str, disk: Path
) -> None:
    """The content type of an adopted file follows from its name."""
    (disk / "report.json").write_text("{}")
    gcs_objects.adopt(stack.layout.gcs_root, disk / "report.json")

    assert bucket.get_blob(f"{folder}/report.json").content_type == "application/json"


def test_adopting_again_keeps_generations(stack: LocalStack, bucket: Bucket, folder: str, disk: Path) -> None:
    """Adopting a folder twice changes nothing the second time, not even objects that a client uploaded."""
    bucket.blob(f"{folder}/uploaded").upload_from_string("by a client")
    (disk / "written").write_text("by a task")
    gcs_objects.adopt(stack.layout.gcs_root, disk)
    before = {blob.name: blob.generation for blob in bucket.list_blobs(prefix=folder)}
    changed = gcs_objects.adopt(stack.layout.gcs_root, disk)
    after = {blob.name: blob.generation for blob in bucket.list_blobs(prefix=folder)}

    assert changed == 0
    assert before == after


def test_changed_file_is_adopted_anew(stack: LocalStack, bucket: Bucket, folder: str, disk: Path) -> None:
    """A file that changed on disk gets a new checksum and generation."""
    file = disk / "file"
    generations = []
    for content in ("old", "new"):
        file.write_text(content)
        gcs_objects.adopt(stack.layout.gcs_root, file)
        generations.append(bucket.get_blob(f"{folder}/file").generation)

    assert bucket.blob(f"{folder}/file").download_as_text() == "new"
    assert generations[0] < generations[1]


def test_adopting_outside_the_root_is_refused(stack: LocalStack, tmp_path: Path) -> None:
    """A file that no bucket holds cannot be an object."""
    with pytest.raises(ValueError, match="outside"):
        gcs_objects.adopt(stack.layout.gcs_root, tmp_path)


def test_published_file_replaces_an_object(stack: LocalStack, bucket: Bucket, folder: str) -> None:
    """A published file takes the place of the object of that name."""
    bucket.blob(f"{folder}/file").upload_from_string("old")
    source = stack.layout.state / uuid.uuid4().hex
    source.write_text("new")
    gcs_objects.publish(source, stack.layout.gcs_root / BUCKET / folder / "file")

    assert bucket.blob(f"{folder}/file").download_as_text() == "new"
