"""Runs the Google provider's own Vertex AI operators one after the other and prints their results."""

from __future__ import annotations

import asyncio
import json
import sys
from types import SimpleNamespace
from typing import Any

from airflow.providers.google.cloud.hooks.vertex_ai.pipeline_job import PipelineJobHook
from airflow.providers.google.cloud.operators.vertex_ai.endpoint_service import (
    CreateEndpointOperator,
    DeleteEndpointOperator,
    DeployModelOperator,
    ListEndpointsOperator,
    UndeployModelOperator,
)
from airflow.providers.google.cloud.operators.vertex_ai.model_service import (
    DeleteModelOperator,
    ListModelsOperator,
    UploadModelOperator,
)
from airflow.providers.google.cloud.operators.vertex_ai.pipeline_job import (
    DeletePipelineJobOperator,
    GetPipelineJobOperator,
    ListPipelineJobOperator,
    RunPipelineJobOperator,
)
from airflow.sdk.exceptions import TaskDeferred
from google.cloud.aiplatform_v1 import PipelineState

WHERE: dict[str, Any] = {"project_id": "taxi-local", "region": "us-central1"}
MODEL = {
    "display_name": "fare",
    "artifact_uri": "gs://taxi-local/model",
    "container_spec": {"image_uri": "image"},
}


class Task:
    """The part of a task instance that an operator uses; XCom is a dictionary."""

    def __init__(self) -> None:
        self.xcom: dict[str, Any] = {}
        self.task_id = "task"
        self.map_index = -1

    def xcom_push(self, key: str, value: Any, **_: Any) -> None:  # noqa: ANN401  # Airflow's
        """Keep a value."""
        self.xcom[key] = value


def run(kind: Any, **arguments: Any) -> Any:  # noqa: ANN401  # an operator; its result
    """Run one operator, and its trigger if it defers."""
    operator = kind(task_id="task", **WHERE, **arguments)
    task = Task()
    context = {"ti": task, "task_instance": task, "task": operator, "dag_run": SimpleNamespace(run_id="1")}
    try:
        return operator.execute(context)
    except TaskDeferred as deferred:
        event = asyncio.run(_first_event(deferred.trigger))
        return getattr(operator, deferred.method_name)(context, event=event, **(deferred.kwargs or {}))


async def _first_event(trigger: Any) -> Any:  # noqa: ANN401  # Airflow's BaseTrigger
    async for event in trigger.run():
        return event.payload
    return None


def state_name(state: str | int) -> str:
    """Return a state's name: some of the operators answer with it, others with its number."""
    return state if isinstance(state, str) else PipelineState(state).name


def pipelines(template: str) -> dict[str, Any]:
    """Run a job, a deferred one and one that is cancelled; list, get and delete."""
    common = {"template_path": template, "pipeline_root": "gs://taxi-local/root", "display_name": "taxi"}
    waited = run(RunPipelineJobOperator, job_id="waited", **common)
    deferred = run(RunPipelineJobOperator, job_id="deferred", deferrable=True, poll_interval=1, **common)
    hook = PipelineJobHook()
    hook.submit_pipeline_job(job_id="endless", **WHERE, **common)
    hook.cancel_pipeline_job()
    listed = run(ListPipelineJobOperator)
    found = run(GetPipelineJobOperator, pipeline_job_id="endless")
    run(DeletePipelineJobOperator, pipeline_job_id="endless")
    return {
        "states": [state_name(job["state"]) for job in (waited, deferred, found)],
        "listed": sorted(job["name"].rpartition("/")[2] for job in listed),
        "left": len(run(ListPipelineJobOperator)),
    }


def models() -> dict[str, Any]:
    """Upload a model, serve it, and clean up."""
    model = run(UploadModelOperator, model=MODEL)["model"]
    endpoint = run(CreateEndpointOperator, endpoint={"display_name": "fares"})["name"].rpartition("/")[2]
    resources = {"machine_spec": {"machine_type": "n1-standard-2"}, "min_replica_count": 1}
    deployed = {"model": model, "display_name": "fare-v1", "dedicated_resources": resources}
    answer = run(DeployModelOperator, endpoint_id=endpoint, deployed_model=deployed, traffic_split={"0": 100})
    serving = run(ListEndpointsOperator)[0]["traffic_split"]
    run(UndeployModelOperator, endpoint_id=endpoint, deployed_model_id=answer["deployed_model"]["id"])
    run(DeleteEndpointOperator, endpoint_id=endpoint)
    run(DeleteModelOperator, model_id=model.rpartition("/")[2])
    return {
        "split": list(serving.values()),
        "left": [len(run(ListEndpointsOperator)), len(run(ListModelsOperator))],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"pipelines": pipelines(sys.argv[1]), "models": models()}) + "\n")
