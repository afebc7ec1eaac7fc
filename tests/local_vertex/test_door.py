"""Jobs that the server with the real engine refuses to create, as clients see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.cloud import aiplatform_v1

from tests.local_vertex.servers import PARENT, connect
from tests.local_vertex.test_process import serving
from tests.local_vertex_engine.specs import pipeline_spec, python_task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local_vertex.servers import Client
    from tests.local_vertex.test_process import Process

UNIMPLEMENTED, INVALID = exceptions.MethodNotImplemented, exceptions.BadRequest
ITEMS = {"raw": "[1, 2]"}


def one_task(**spec: Any) -> dict[str, Any]:  # noqa: ANN401  # IR JSON
    """Return a pipeline of the task `train`."""
    return pipeline_spec({"train": python_task("pass", **spec)})


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Serve with the real engine."""
    with serving(tmp_path_factory.mktemp("door")) as process:
        yield process


@pytest.fixture
def client(process: Process, transport: str) -> Client:
    """Return the official client of the server with the real engine."""
    server: Any = process
    return connect(aiplatform_v1.PipelineServiceClient, server, transport)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        (
            one_task(parameterIterator={"itemInput": "p", "items": ITEMS}),
            UNIMPLEMENTED,
            "task 'train' iterates, but loops (ParallelFor) are not supported here; ",
        ),
        (
            one_task(artifactIterator={"itemInput": "a", "items": {"inputArtifact": "a"}}),
            UNIMPLEMENTED,
            "task 'train' iterates, but loops (ParallelFor) are not supported here; ",
        ),
        (one_task(container={"image": "elsewhere/x:1"}), INVALID, "not in this machine's image table"),
        (one_task(container={"command": []}), UNIMPLEMENTED, "has no command"),
        (one_task(dependentTasks=["tuner"]), INVALID, "'tuner', which is none of ['train']"),
        ({**one_task(), "schemaVersion": "1.0"}, UNIMPLEMENTED, "supported are 2.0.x and 2.1.x"),
    ],
    ids=["loop over parameters", "loop over artifacts", "image", "no command", "unknown task", "schema"],
)
def test_a_refused_spec(client: Client, spec: dict[str, Any], error: type[Exception], message: str) -> None:
    """The code and the message say what is wrong and how to fix it, and no job appears."""
    job = {"pipeline_spec": spec, "runtime_config": {"gcs_output_directory": "gs://bucket/runs"}}
    with pytest.raises(error) as refused:
        client.create_pipeline_job(parent=PARENT, pipeline_job=job)

    assert message in str(refused.value)
    assert list(client.list_pipeline_jobs(parent=PARENT)) == []
