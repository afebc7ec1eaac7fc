"""Run a container and a pipeline on Vertex AI, each once per DAG run, and log what the pipeline wrote.

It needs the Airflow connection ``google_cloud_default`` and a bucket, which is a field of the form. The
pipeline, ``hello.json`` beside this file, was compiled by kfp and runs one line of shell.
"""

from __future__ import annotations

import logging
from importlib.resources import files
from typing import Any

from airflow.sdk import DAG, Param, task

from vertex_airflow.objects import ObjectStore
from vertex_airflow.operators.custom_job import VertexCustomJobOperator
from vertex_airflow.operators.pipeline_job import VertexPipelineJobOperator

SPEC = files("vertex_airflow.example_dags") / "hello.json"
SPEC_URI = "{{ params.bucket }}/hello_vertex/hello.json"
GREETING = "{{ ti.xcom_pull(task_ids='run_pipeline')['artifacts']['greet.greeting'] }}"
VERTEX: dict[str, Any] = {
    "region": "{{ params.region }}",
    "labels": {"app": "hello-vertex"},
    "timeout_seconds": 1800,
}


@task
def upload_spec(uri: str) -> None:
    """Write the compiled pipeline to Cloud Storage."""
    ObjectStore(gcp_conn_id="google_cloud_default").write(uri, SPEC.read_bytes())


@task
def log_greeting(uri: str) -> None:
    """Log the artifact of the pipeline's only component."""
    greeting = ObjectStore(gcp_conn_id="google_cloud_default").read(uri)
    logging.getLogger(__name__).info("The pipeline says: %s", greeting.decode())


with DAG(
    dag_id="hello_vertex",
    description="A container and a pipeline on Vertex AI, each once per DAG run",
    schedule=None,
    params={
        "bucket": Param(
            type="string", pattern="^gs://[^/]+", description="gs:// folder for jobs to write to"
        ),
        "region": Param("us-central1", type="string"),
        "name": Param("world", type="string", description="who is greeted"),
    },
    tags=["example", "vertex-ai"],
):
    run_container = VertexCustomJobOperator(
        task_id="run_container",
        display_name="hello {{ run_id }}",
        image="python:3.12-slim",
        command=["python", "-c", "import os; print('Hello,', os.environ['NAME'])"],
        env={"NAME": "{{ params.name }}"},
        machine_type="e2-standard-4",
        **VERTEX,
    )
    run_pipeline = VertexPipelineJobOperator(
        task_id="run_pipeline",
        spec_uri=SPEC_URI,
        pipeline_root="{{ params.bucket }}/hello_vertex/root",
        parameter_values={"name": "{{ params.name }}"},
        required_outputs=["greet.greeting"],
        **VERTEX,
    )
    [run_container, upload_spec(SPEC_URI)] >> run_pipeline >> log_greeting(GREETING)
