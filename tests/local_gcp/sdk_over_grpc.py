"""Uses the google-cloud-aiplatform SDK with its defaults, over gRPC, and prints the results."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform

sdk: Any = aiplatform  # its types are incomplete
IMAGE = "taxi-vertex/pipeline:local"
MACHINE = "n1-standard-4"


def pipelines(template: str) -> dict[str, Any]:
    """Wait for a job, cancel another, and find both by their label."""
    common: dict[str, Any] = {"display_name": "sdk", "template_path": template, "labels": {"by": "sdk"}}
    waited = sdk.PipelineJob(job_id="sdk", **common)
    waited.submit()
    waited.wait()
    endless = sdk.PipelineJob(job_id="endless", **common)
    endless.submit()
    endless.cancel()
    found = sdk.PipelineJob.list(filter='labels.by="sdk"', order_by="create_time")
    answer = {
        "states": [job.state.name for job in found],
        "experiments": [job.get_associated_experiment() for job in found],
    }
    for job in found:
        job.delete()
    return answer


def custom_job() -> str:
    """Run a custom job to its end."""
    pool = {
        "machine_spec": {"machine_type": MACHINE},
        "replica_count": 1,
        "container_spec": {"image_uri": IMAGE, "command": ["true"]},
    }
    job = sdk.CustomJob(display_name="sdk", worker_pool_specs=[pool])
    job.run()
    state = str(job.state.name)
    job.delete()
    return state


def upload(**fields: Any) -> Any:  # noqa: ANN401  # the SDK's own
    """Upload a model, or a version of one."""
    uri = "gs://taxi-local/model"
    return sdk.Model.upload(display_name="sdk", artifact_uri=uri, serving_container_image_uri=IMAGE, **fields)


def models() -> dict[str, Any]:
    """Serve two versions of a model side by side, predict in both ways, and clean up."""
    first = upload()
    second = upload(parent_model=first.resource_name, version_aliases=["next"], is_default_version=False)
    endpoint = sdk.Endpoint.create(display_name="sdk")
    endpoint.deploy(first, machine_type=MACHINE, traffic_percentage=100)
    endpoint.deploy(second, machine_type=MACHINE, traffic_percentage=20)
    answer = {
        "aliases": list(second.versioning_registry.get_version_info("next").version_aliases),
        "split": sorted(endpoint.traffic_split.values()),
        "predictions": endpoint.predict(instances=[{"miles": 1.5}]).predictions,
        "asynchronous": asyncio.run(endpoint.predict_async(instances=[{"miles": 1.5}])).predictions,
    }
    endpoint.undeploy_all()
    answer["deployed"] = endpoint.list_models()
    endpoint.delete()
    first.delete()
    return answer


if __name__ == "__main__":
    sdk.init(
        project="taxi-local",
        location="us-central1",
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]  # google.auth has none
        staging_bucket="gs://taxi-local",
    )
    done = {"pipelines": pipelines(sys.argv[1]), "custom_job": custom_job(), "models": models()}
    sys.stdout.write(json.dumps(done) + "\n")
