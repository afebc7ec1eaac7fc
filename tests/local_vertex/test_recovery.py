"""A new server over the state that the last one left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.api_core import exceptions
from google.cloud import aiplatform_v1
from google.longrunning import operations_pb2

from local_vertex.api.collection import Collection
from local_vertex.domain.states import RunState, TaskState
from local_vertex.store import StateInUseError, Store
from tests.local_vertex.servers import CANONICAL, PARENT, connect, running_server
from tests.local_vertex.test_custom_jobs import custom_job
from tests.local_vertex.test_endpoints import deploy
from tests.local_vertex.test_models import upload
from tests.local_vertex.test_pipeline_jobs import create
from tests.local_vertex.test_predictions import instances
from tests.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local_vertex.servers import Client, Server


def pipelines_of(server: Server) -> Client:
    """Return a client of PipelineService."""
    return connect(aiplatform_v1.PipelineServiceClient, server, "grpc")


@pytest.mark.parametrize("ended", [TaskState.SUCCEEDED, TaskState.SKIPPED, TaskState.FAILED])
def test_running_jobs_go_on_with_their_finished_tasks(tmp_path: Path, ended: TaskState) -> None:
    """A job that was cut off is given to the engine again, with its tasks that ended, successfully or not."""
    with running_server(tmp_path) as first:
        name = create(pipelines_of(first), "a").name
        record = first.engine.finish_task(name, "Trainer", ended)
    with running_server(tmp_path) as second:
        run = second.engine.runs[0]

        assert run.name == name
        assert run.finished == (record,)


def test_ended_jobs_stay(tmp_path: Path) -> None:
    """A job that has ended is kept and not run again."""
    with running_server(tmp_path) as first:
        name = create(pipelines_of(first), "a").name
        first.engine.end(name, RunState.SUCCEEDED)
    with running_server(tmp_path) as second:
        job = pipelines_of(second).get_pipeline_job(name=name)

        assert job.state.name == "PIPELINE_STATE_SUCCEEDED"
        assert second.engine.runs == []


def test_a_job_that_was_being_cancelled_is_cancelled(tmp_path: Path) -> None:
    """A cancellation that was cut off is done."""
    with running_server(tmp_path) as first:
        name = create(pipelines_of(first), "a").name
        first.engine.listener.run_changed(
            name, RunState.CANCELLING, at=first.engine.runs[0].create_time, error=None
        )
    with running_server(tmp_path) as second:
        job = pipelines_of(second).get_pipeline_job(name=name)

        assert job.state.name == "PIPELINE_STATE_CANCELLED"


def test_custom_jobs_start_again(tmp_path: Path) -> None:
    """A custom job that was cut off is started again under its name."""
    with running_server(tmp_path) as first:
        jobs = connect(aiplatform_v1.JobServiceClient, first, "grpc")
        name = jobs.create_custom_job(parent=PARENT, custom_job=custom_job()).name
    with running_server(tmp_path) as second:
        assert [run.name for run in second.jobs.runs] == [name]


def test_deployed_models_come_up_again(tmp_path: Path) -> None:
    """An endpoint answers after a restart as before."""
    with running_server(tmp_path) as first:
        models = connect(aiplatform_v1.ModelServiceClient, first, "grpc")
        endpoints = connect(aiplatform_v1.EndpointServiceClient, first, "grpc")
        endpoint = endpoints.create_endpoint(parent=PARENT, endpoint={"display_name": "f"}).result().name
        deployed_id = deploy(endpoints, endpoint, upload(models).name, {"0": 100})
    with running_server(tmp_path) as second:
        wait_for(lambda: second.models.running() == (deployed_id,))
        prediction = connect(aiplatform_v1.PredictionServiceClient, second, "grpc")
        answer = prediction.predict(endpoint=endpoint, instances=instances(1))

        assert answer.deployed_model_id == deployed_id


def test_a_model_that_does_not_come_up(tmp_path: Path) -> None:
    """A server that cannot be started again makes predictions UNAVAILABLE, with the reason."""
    with running_server(tmp_path) as first:
        models = connect(aiplatform_v1.ModelServiceClient, first, "grpc")
        endpoints = connect(aiplatform_v1.EndpointServiceClient, first, "grpc")
        endpoint = endpoints.create_endpoint(parent=PARENT, endpoint={"display_name": "f"}).result().name
        first.models.release.set()
        deploy(endpoints, endpoint, upload(models, artifact_uri="gs://bkt/once").name, {"0": 100})
    with running_server(tmp_path) as second:
        endpoints = connect(aiplatform_v1.EndpointServiceClient, second, "grpc")
        wait_for(lambda: bool(endpoints.get_endpoint(name=endpoint).deployed_models[0].status.message))
        prediction = connect(aiplatform_v1.PredictionServiceClient, second, "rest")

        with pytest.raises(exceptions.ServiceUnavailable, match="ImportError"):
            prediction.predict(endpoint=endpoint, instances=instances(1), retry=None)


def test_operations_in_flight_fail_clearly(tmp_path: Path) -> None:
    """An operation that lost its worker is done, with an error."""
    name = f"{CANONICAL}/endpoints/7/operations/1"
    store = Store(tmp_path / "vertex.sqlite")
    Collection(store, operations_pb2.Operation).insert(operations_pb2.Operation(name=name), "")
    store.close()
    with running_server(tmp_path) as server:
        operation = pipelines_of(server).get_operation({"name": name})

        assert operation.done
        assert "retry" in operation.error.message


def test_a_state_folder_belongs_to_one_server(tmp_path: Path) -> None:
    """A second server on the same state is refused."""
    store = Store(tmp_path / "vertex.sqlite")

    with pytest.raises(StateInUseError, match="in use"):
        Store(tmp_path / "vertex.sqlite")
    store.close()
