"""Tests of the whole DAG in a real Airflow, on real trips, against the local cloud."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.cloud.aiplatform_v1 import EndpointServiceClient, ModelServiceClient, PredictionServiceClient
from google.cloud.aiplatform_v1.services.endpoint_service.transports import grpc as endpoint_grpc
from google.cloud.aiplatform_v1.services.model_service.transports import grpc as model_grpc
from google.cloud.aiplatform_v1.services.prediction_service.transports import grpc as prediction_grpc
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value

from local_gcp.airflow_client import AirflowClient, AirflowError
from local_gcp.layout import PROJECT, REGION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.conftest import LocalStack

DAG_ID = "taxi_training"
PARENT = f"projects/{PROJECT}/locations/{REGION}"
RUN_SECONDS = 900
# Enough to pass the gate, and a third of the time of the defaults.
SMALL = {"train_steps": 600, "tuner_trials": 1}

pytestmark = [pytest.mark.e2e, pytest.mark.pipeline, pytest.mark.timeout(1200)]


class Runs:
    """Runs of the DAG, and what they left on the local cloud."""

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
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        content: dict[str, Any] = json.loads(
            self.stack.storage_client().bucket(bucket).blob(name).download_as_bytes()
        )
        return content

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

    def predict(self, endpoint: str, instance: Mapping[str, float]) -> float:
        """Ask the endpoint for a fare, in USD."""
        client = PredictionServiceClient(
            transport=prediction_grpc.PredictionServiceGrpcTransport(channel=self.channel)
        )
        value = json_format.ParseDict(dict(instance), Value())
        answer = client.predict(endpoint=endpoint, instances=[value])
        prediction: Any = next(iter(answer.predictions))
        return float(prediction)


@pytest.fixture(scope="module")
def runs(airflow_stack: LocalStack) -> Iterator[Runs]:
    """The DAG in a running Airflow."""
    client = AirflowClient(airflow_stack.url("airflow-api", "rest"))
    client.authenticate()
    client.await_dag(DAG_ID, deadline_seconds=120)
    found = Runs(airflow_stack, client)
    yield found
    found.channel.close()


@pytest.fixture(scope="module")
def first_month(runs: Runs) -> tuple[str, dict[str, str | None]]:
    """The run of the first month, which meets no champion."""
    return runs.run({"window_end": "2015-02-01", **SMALL})


@pytest.fixture(scope="module")
def second_month(
    runs: Runs,
    first_month: tuple[str, dict[str, str | None]],  # noqa: ARG001  # the champion comes from it
) -> tuple[str, dict[str, str | None]]:
    """The run of the next month, which only evaluates."""
    return runs.run({"window_end": "2015-03-01", "promote": False, **SMALL})


def _instance(trip: Mapping[str, str]) -> dict[str, float]:
    numbers = {name: float(text) for name, text in trip.items() if name not in {"trip_id", "fare"}}
    return {name: number for name, number in numbers.items() if number >= 0}


def test_first_month_promotes(runs: Runs, first_month: tuple[str, dict[str, str | None]]) -> None:
    """A run over real trips goes from BigQuery to a decision to promote."""
    run_id, states = first_month
    decision = runs.json(runs.airflow.xcom(DAG_ID, run_id, "gate")["decision"])

    assert (decision["verdict"], states["promote.shift_traffic"]) == ("promote", "success")


def test_promoted_version_is_the_champion_and_serves_all_traffic(
    runs: Runs, first_month: tuple[str, dict[str, str | None]]
) -> None:
    """After a promotion one model serves everything, and the registry calls it the champion."""
    run_id, _ = first_month
    registered = runs.airflow.xcom(DAG_ID, run_id, "promote.register")["model"]
    (endpoint,) = runs.endpoints()
    (deployed,) = endpoint.deployed_models
    champion = runs.model(f"{registered.partition('@')[0]}@champion")

    assert (champion.version_id, dict(endpoint.traffic_split)) == (
        deployed.model_version_id,
        {deployed.id: 100},
    )


@pytest.mark.usefixtures("first_month")
def test_endpoint_predicts_a_fare_for_a_real_trip(runs: Runs) -> None:
    """The endpoint answers the raw features of a test trip with a fare that is not far off."""
    trip = runs.first_test_trip("2015-02_train24_test1")
    (endpoint,) = runs.endpoints()
    predicted = runs.predict(endpoint.name, _instance(trip))

    assert math.isclose(float(trip["fare"]), predicted, rel_tol=0.75, abs_tol=5)


def test_next_month_is_compared_with_the_champion_on_the_same_rows(
    runs: Runs, second_month: tuple[str, dict[str, str | None]]
) -> None:
    """The second run scores the serving model and its own on the rows of the same test month."""
    run_id, _ = second_month
    report = runs.json(runs.airflow.xcom(DAG_ID, run_id, "gate")["report"])
    counts = {report[role]["metrics"]["count"] for role in ("challenger", "champion")}

    assert (counts, report["difference"] is None) == ({report["rows"]["test"]}, False)


def test_run_that_only_evaluates_changes_nothing(
    runs: Runs, second_month: tuple[str, dict[str, str | None]]
) -> None:
    """With promote off, the endpoint serves what it served before, whatever the gate said."""
    _, states = second_month
    (endpoint,) = runs.endpoints()

    assert (states["promote.register"], len(endpoint.deployed_models)) == ("skipped", 1)


def test_window_without_enough_trips_stops_before_the_pipeline(runs: Runs) -> None:
    """A window of 2016 has too few test trips: the run fails with the counts and submits nothing."""
    run_id, states = runs.run({"window_end": "2016-07-01", **SMALL})

    assert (states["check_rows"], states["compile"] != "failed", states["run_pipeline"]) == (
        "failed",
        True,
        "upstream_failed",
    )
    assert "test" in runs.log(run_id, "check_rows")


def test_window_end_inside_a_month_fails_at_the_door(runs: Runs) -> None:
    """A window that ends in mid-month fails in the first task, which names value and remedy."""
    run_id, states = runs.run({"window_end": "2015-02-10"})

    assert (states["validate"], states["build_dataset"]) == ("failed", "upstream_failed")
    assert "2015-02-10 is inside a month; give the first day" in runs.log(run_id, "validate")


def test_parameter_of_the_wrong_type_is_refused_by_the_form(runs: Runs) -> None:
    """Airflow refuses a run whose parameters break their types, before any task exists."""
    with pytest.raises(AirflowError, match="train_months"):
        runs.airflow.trigger(DAG_ID, {"train_months": -3})
