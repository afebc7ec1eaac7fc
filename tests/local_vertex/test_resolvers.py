"""Resolvers over the metadata store: what earlier jobs of the same pipeline left is found."""

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

MODEL = {"artifacts": {"model": {"artifactType": {"instanceSchema": "title: tfx.Model\ntype: object\n"}}}}
TRAIN = (
    "import json, sys; out = json.loads(sys.argv[1])['outputs']['outputFile'];"
    "written = {'artifacts': {'model': {'artifacts': [{'metadata': {'rmse': float(sys.argv[2])}}]}}};"
    "open(out, 'w').write(json.dumps(written))"
)
QUERY = (
    "schema_title=\"tfx.Model\" AND state=LIVE AND metadata.rmse.number_value={{$.inputs.parameters['rmse']}}"
)


def training_spec(name: str) -> dict[str, Any]:
    """Return pipeline `name`, which makes a model whose error is a typed runtime parameter of schema 2.0."""
    number = {"parameters": {"rmse": {"type": "DOUBLE"}}}
    train = python_task(
        TRAIN,
        "{{$}}",
        "{{$.inputs.parameters['rmse']}}",
        component={"inputDefinitions": number, "outputDefinitions": MODEL},
        inputs={"parameters": {"rmse": {"componentInputParameter": "rmse"}}},
    )
    spec = pipeline_spec({"train": train}, inputDefinitions=number)
    return {**spec, "pipelineInfo": {"name": name}, "schemaVersion": "2.0.0"}


def resolving_spec(name: str, rmse: float) -> dict[str, Any]:
    """Return pipeline `name`, which looks up the latest model with an error of `rmse`."""
    resolver = {
        "task": {"inputs": {"parameters": {"rmse": {"runtimeValue": {"constant": rmse}}}}},
        "component": {
            "inputDefinitions": {"parameters": {"rmse": {"parameterType": "NUMBER_DOUBLE"}}},
            "outputDefinitions": MODEL,
        },
        "executor": {"resolver": {"outputArtifactQueries": {"model": {"filter": QUERY}}}},
    }
    return {**pipeline_spec({"resolve": resolver}), "pipelineInfo": {"name": name}}


def outputs(process: Process, job_id: str, spec: dict[str, Any], **runtime: Any) -> list[Client]:  # noqa: ANN401
    """Run a pipeline of one task and return the models that it puts out."""
    client = process.client(aiplatform_v1.PipelineServiceClient)
    config = {"gcs_output_directory": "gs://bucket/runs", **runtime}
    job = {"pipeline_spec": spec, "runtime_config": config}
    client.create_pipeline_job(parent=PARENT, pipeline_job=job, pipeline_job_id=job_id)
    name = f"{CANONICAL}/pipelineJobs/{job_id}"
    wait_for(lambda: client.get_pipeline_job(name=name).state.name not in RUNNING, 60)
    (task,) = client.get_pipeline_job(name=name).job_detail.task_details
    return list(task.outputs["model"].artifacts)


def test_the_latest_match_of_the_same_pipeline_is_found(tmp_path: Path) -> None:
    """The newer matching one of a pipeline's three models is found, even if its job is deleted."""
    with serving(tmp_path) as process:
        made = {
            job: outputs(process, job, training_spec(pipeline), parameters={"rmse": {"double_value": rmse}})
            for job, pipeline, rmse in (
                ("old", "mine", 2.5),
                ("new", "mine", 2.5),
                ("worse", "mine", 9.5),
                ("other", "theirs", 2.5),
            )
        }
        client = process.client(aiplatform_v1.PipelineServiceClient)
        client.delete_pipeline_job(name=f"{CANONICAL}/pipelineJobs/new").result(timeout=10)
    with serving(tmp_path) as process:
        found = outputs(process, "resolve", resolving_spec("mine", 2.5))
        nothing = outputs(process, "nothing", resolving_spec("mine", 1.0))

    assert [model.name for model in found] == [model.name for model in made["new"]]
    assert found[0].metadata["rmse"] == 2.5
    assert nothing == []
