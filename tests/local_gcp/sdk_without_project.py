"""Uses the google-cloud-aiplatform SDK after an init without a project, which makes it speak REST."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform

sdk: Any = aiplatform  # its types are incomplete
IMAGE = "taxi-vertex/pipeline:local"


class Errors(logging.Handler):
    """Keeps the errors that the SDK logs: it continues without some of the answers that it requests."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.logged: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.logged.append(record.getMessage())


def raw_prediction() -> Any:  # noqa: ANN401  # JSON
    """Serve a model and send it a custom body, which the SDK sends over a separate session."""
    model = sdk.Model.upload(
        display_name="raw", artifact_uri="gs://taxi-local/model", serving_container_image_uri=IMAGE
    )
    endpoint = sdk.Endpoint.create(display_name="raw")
    endpoint.deploy(model, machine_type="n1-standard-4", traffic_percentage=100)
    body = json.dumps({"instances": [{"miles": 1.5}]}).encode()
    answer = endpoint.raw_predict(body=body, headers={"Content-Type": "application/json"}).json()
    endpoint.delete(force=True)
    model.delete()
    return answer


def submitted(template: str) -> str:
    """Submit a job and return its final state."""
    job = sdk.PipelineJob(
        job_id="rest", display_name="rest", template_path=template, pipeline_root="gs://taxi-local/root"
    )
    job.submit()
    job.wait()
    state = str(job.state.name)
    job.delete()
    return state


if __name__ == "__main__":
    errors = Errors()
    logging.getLogger("google.cloud.aiplatform.pipeline_jobs").addHandler(errors)
    sdk.init(
        location="us-central1",
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]  # google.auth has none
    )
    done = {
        "transport": sdk.initializer.global_config._api_transport,  # noqa: SLF001  # there is no other way to know
        "project": sdk.initializer.global_config.project,
        "endpoints": sdk.Endpoint.list(filter='display_name="none"'),
        "raw": raw_prediction(),
        "state": submitted(sys.argv[1]),
        "errors": errors.logged,
    }
    sys.stdout.write(json.dumps(done) + "\n")
