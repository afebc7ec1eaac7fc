"""Runs of the DAG in a real Airflow, and what they left on the local cloud."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from google.cloud.aiplatform_v1 import EndpointServiceClient, ModelServiceClient, PredictionServiceClient
from google.cloud.aiplatform_v1.services.endpoint_service.transports import grpc as endpoint_grpc
from google.cloud.aiplatform_v1.services.model_service.transports import grpc as model_grpc
from google.cloud.aiplatform_v1.services.prediction_service.transports import grpc as prediction_grpc
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value

from local_gcp.layout import PROJECT, REGION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_gcp.airflow_client import AirflowClient
    from tests.local_stack import LocalStack

TERRAFORM = Path(__file__).parents[2] / "deploy" / "terraform"
DAG_ID = "taxi_training"
PARENT = f"projects/{PROJECT}/locations/{REGION}"
RUN_SECONDS = 900
# Enough to pass the gate, in half the time of the defaults.
SMALL = {"train_steps": 300, "tuner_trials": 1}


class Runs:
    """Runs of the DAG, with their results on the local cloud."""

    def __init__(self, stack: LocalStack, airflow: AirflowClient) -> None:
        self.stack = stack
        self.airflow = airflow
        target = stack.url("vertex", "grpc").removeprefix("http://")
        self.channel = grpc.insecure_channel(target)

    def run(self, conf: Mapping[str, Any]) -> tuple[str, dict[str, str | None]]:
        """Trigger a run, wait for its end, and return its id and the states of its tasks."""
        run_id = self.airflow.trigger(DAG_ID, conf)
        for _ in self.airflow.watch(DAG_ID, run_id, deadline_seconds=RUN_SECONDS):
            pass
        tasks = self.airflow.task_instances(DAG_ID, run_id)
        return run_id, {task.task_id: task.state for task in tasks}

    def log(self, run_id: str, task_id: str) -> str:
        """Return the log of a task."""
        tasks = {task.task_id: task for task in self.airflow.task_instances(DAG_ID, run_id)}
        return self.airflow.log(DAG_ID, run_id, tasks[task_id])

    def json(self, uri: str) -> dict[str, Any]:
        """Return a JSON object of Cloud Storage."""
        content: dict[str, Any] = json.loads(self.text(uri))
        return content

    def text(self, uri: str) -> str:
        """Return an object of Cloud Storage as a string."""
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        text: str = self.stack.storage_client().bucket(bucket).blob(name).download_as_text()
        return text

    def apply_retention(self) -> list[str]:
        """Delete, and return, the objects that the Terraform module's lifecycle rule deletes by age."""
        rule = re.search(r"transient_folders *= (\[.*\])", (TERRAFORM / "main.tf").read_text())
        folders = json.loads(rule[1]) if rule else []
        bucket = self.stack.storage_client().bucket("taxi-local")
        blobs = [blob for folder in folders for blob in bucket.list_blobs(prefix=folder)]
        for blob in blobs:
            blob.delete()
        return [blob.name for blob in blobs]

    def first_test_trip(self, window: str) -> dict[str, Any]:
        """Return a trip of the test split as its CSV has it."""
        client = self.stack.storage_client()
        blob = next(iter(client.list_blobs("taxi-local", prefix=f"data/{window}/test/")))
        return next(csv.DictReader(io.StringIO(blob.download_as_text())))

    def endpoints(self) -> list[Any]:
        """Return all endpoints, read with Google's client over gRPC."""
        client = EndpointServiceClient(
            transport=endpoint_grpc.EndpointServiceGrpcTransport(channel=self.channel)
        )
        return list(client.list_endpoints(parent=PARENT))

    def model(self, name: str) -> Any:  # noqa: ANN401  # a generated message
        """Return a model at a version or alias."""
        client = ModelServiceClient(transport=model_grpc.ModelServiceGrpcTransport(channel=self.channel))
        return client.get_model(name=name)

    def versions(self, name: str) -> list[str]:
        """Return the versions of a model, by their ids."""
        client = ModelServiceClient(transport=model_grpc.ModelServiceGrpcTransport(channel=self.channel))
        return [model.version_id for model in client.list_model_versions(name=name.partition("@")[0])]

    def predict(self, endpoint: str, instance: Mapping[str, float]) -> float:
        """Request a fare from the endpoint, in USD."""
        client = PredictionServiceClient(
            transport=prediction_grpc.PredictionServiceGrpcTransport(channel=self.channel)
        )
        value = json_format.ParseDict(dict(instance), Value())
        answer = client.predict(endpoint=endpoint, instances=[value])
        prediction: Any = next(iter(answer.predictions))
        return float(prediction)
