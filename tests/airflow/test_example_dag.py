from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from tests.airflow.servers import REGION
from tests.airflow.tasks import context
from vertex_airflow.example_dags.hello_vertex import SPEC, run_container, run_pipeline

if TYPE_CHECKING:
    from tests.airflow.servers import Vertex
    from vertex_airflow.objects import ObjectStore

pytestmark = pytest.mark.stack


def start(task: Any, bucket: str) -> None:  # noqa: ANN401  # an operator with Airflow's own methods
    """Run a task of the example, with the templates of its fields rendered, until it defers."""
    given = context(params={"bucket": bucket, "region": REGION, "name": "you"})
    ready = task.prepare_for_execution()
    ready.render_template_fields(given)
    with pytest.raises(TaskDeferred):
        ready.execute(given)


def test_the_example_runs_a_container(vertex: Vertex, bucket: str) -> None:
    """The container gets what the form says."""
    start(run_container, bucket)

    (job,) = vertex.hook.jobs.list_custom_jobs(parent=vertex.hook.location)
    container = job.job_spec.worker_pool_specs[0].container_spec

    assert (container.image_uri, container.env[0].value) == ("python:3.12-slim", "you")


def test_the_example_runs_a_pipeline(vertex: Vertex, bucket: str, store: ObjectStore) -> None:
    """Vertex AI takes the spec as kfp compiled it, with the value of the form."""
    store.write(f"{bucket}/hello_vertex/hello.json", SPEC.read_bytes())

    start(run_pipeline, bucket)

    (job,) = vertex.hook.pipelines.list_pipeline_jobs(parent=vertex.hook.location)

    assert dict(job.runtime_config.parameter_values) == {"name": "you"}
    assert job.runtime_config.gcs_output_directory == f"{bucket}/hello_vertex/root"
