"""Images that a person adds to those of the stack."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from google.api_core.exceptions import InvalidArgument
from google.cloud import aiplatform_v1
from google.cloud.aiplatform_v1 import types as gca

from local_gcp import state
from local_gcp.errors import ServiceFailedError
from local_gcp.layout import PROJECT, REGION, Layout
from local_gcp.services import GCS, VERTEX
from local_gcp.stack import Stack
from tests.local_vertex.test_custom_jobs import custom_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.local_vertex.servers import Client

pytestmark = [pytest.mark.stack, pytest.mark.pipeline]
ENDED = {gca.JobState.JOB_STATE_SUCCEEDED, gca.JobState.JOB_STATE_FAILED}
PARENT = f"projects/{PROJECT}/locations/{REGION}"
JOB = custom_job(
    job_spec={
        "worker_pool_specs": [
            {
                "container_spec": {"image_uri": "python:3.11", "command": ["python"], "args": ["-c", "pass"]},
                "replica_count": 1,
            }
        ]
    }
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Folders of a new local cloud."""
    return Layout(state=tmp_path)


@pytest.fixture
def stack(layout: Layout) -> Iterator[Stack]:
    """Cloud Storage and Vertex AI, not started yet."""
    stack = Stack(layout, declarations=(GCS, VERTEX))
    yield stack
    stack.reset()


def jobs(layout: Layout) -> Client:
    """Return a client of the Vertex AI of a stack."""
    address = f"127.0.0.1:{state.read(layout.stack_file).ports['vertex.grpc']}"
    kind: Client = aiplatform_v1.JobServiceClient
    return kind(transport=kind.get_transport_class("grpc")(channel=grpc.insecure_channel(address)))


def run(client: Client, seconds: float = 60) -> str:
    """Run a job and return its final state."""
    name = client.create_custom_job(parent=PARENT, custom_job=JOB).name
    deadline = time.monotonic() + seconds
    while (found := client.get_custom_job(name=name)).state not in ENDED:
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.1)
    return str(found.state.name)


def test_the_refusal_says_how_to_add_an_image(stack: Stack, layout: Layout) -> None:
    """With the refusal's row in the file that it names, `up` serves the image and keeps the file."""
    stack.up()
    with pytest.raises(InvalidArgument) as refused:
        run(jobs(layout))
    text = refused.value.message
    row = json.loads(re.findall(r"\[({.*})\]", text)[0])
    layout.own_images.write_text(json.dumps([{**row, "interpreter": sys.executable}]))
    written = layout.own_images.read_text()
    stack.up()

    assert str(layout.own_images) in text
    assert run(jobs(layout)) == "JOB_STATE_SUCCEEDED"
    assert layout.own_images.read_text() == written


def test_an_interpreter_must_exist(stack: Stack, layout: Layout) -> None:
    """A row whose interpreter cannot be executed keeps Vertex AI from starting; the error names the row."""
    layout.own_images.write_text(json.dumps([{"image": "python:3.11", "interpreter": "/gone/python"}]))

    with pytest.raises(ServiceFailedError, match=r"/gone/python of image 'python:3.11' cannot be executed"):
        stack.up()


def test_reset_keeps_a_persons_images(stack: Stack, layout: Layout) -> None:
    """A reset removes what the stack wrote, not the images that a person added."""
    layout.own_images.write_text("[]")
    stack.up(("gcs",))
    stack.reset()

    assert layout.own_images.read_text() == "[]"
