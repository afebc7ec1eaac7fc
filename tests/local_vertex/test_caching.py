"""Caching through the server: what it remembers, and how clients see a hit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.cloud import aiplatform_v1

from tests.local_vertex.servers import CANONICAL, PARENT
from tests.local_vertex.test_process import RUNNING, serving
from tests.local_vertex_engine.specs import pipeline_spec, python_task
from tests.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local_vertex.servers import Client
    from tests.local_vertex.test_process import Process

WRITE = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('text')"


def writing_spec() -> dict[str, Any]:
    """Return a cacheable pipeline of one task that writes a file."""
    declared = {"artifacts": {"text": {"artifactType": {"schemaTitle": "system.Dataset"}}}}
    task = python_task(
        WRITE,
        "{{$.outputs.artifacts['text'].uri}}",
        component={"outputDefinitions": declared},
        cachingOptions={"enableCache": True},
    )
    return pipeline_spec({"write": task})


def finished_task(process: Process, job_id: str, spec: dict[str, Any]) -> Client:
    """Run a pipeline to its end and return the detail of its only task."""
    client = process.client(aiplatform_v1.PipelineServiceClient)
    job = {"pipeline_spec": spec, "runtime_config": {"gcs_output_directory": "gs://bucket/runs"}}
    client.create_pipeline_job(parent=PARENT, pipeline_job=job, pipeline_job_id=job_id)
    name = f"{CANONICAL}/pipelineJobs/{job_id}"
    wait_for(lambda: client.get_pipeline_job(name=name).state.name not in RUNNING, 60)
    return client.get_pipeline_job(name=name).job_detail.task_details[0]


def test_a_hit_outlives_the_server(tmp_path: Path) -> None:
    """A later server skips what an earlier one has run; the execution is CACHED, the artifact the same."""
    with serving(tmp_path) as process:
        first = finished_task(process, "first", writing_spec())
    with serving(tmp_path) as process:
        second = finished_task(process, "second", writing_spec())

    assert (first.state.name, second.state.name) == ("SUCCEEDED", "SKIPPED")
    assert second.execution.state.name == "CACHED"
    assert second.outputs["text"].artifacts[0].name == first.outputs["text"].artifacts[0].name
