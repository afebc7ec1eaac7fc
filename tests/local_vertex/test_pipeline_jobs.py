"""PipelineService through the official clients, over gRPC and REST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.cloud import aiplatform_v1, aiplatform_v1beta1

from local_vertex.domain.errors import Code
from local_vertex.domain.records import Failure
from local_vertex.domain.states import RunState, TaskState
from tests.local_vertex.servers import CANONICAL, PARENT, connect, running_server

if TYPE_CHECKING:
    from pathlib import Path

    from local_vertex.run.ports import PipelineRun
    from tests.local_vertex.servers import Client, Server

SPEC = {"pipelineInfo": {"name": "taxi"}, "schemaVersion": "2.1.0", "root": {"dag": {"tasks": {}}}}


def pipeline_job(**fields: object) -> Client:
    """Return a valid job, with some fields changed."""
    runtime = {"gcs_output_directory": "gs://taxi-local/runs"}
    return aiplatform_v1.PipelineJob(
        {"display_name": "taxi", "pipeline_spec": SPEC, "runtime_config": runtime, **fields}
    )


def create(client: Client, job_id: str = "", **fields: object) -> Client:
    """Create a valid job, with some fields changed."""
    return client.create_pipeline_job(
        parent=PARENT, pipeline_job=pipeline_job(**fields), pipeline_job_id=job_id
    )


def test_create_answers_with_project_number(pipelines: Client) -> None:
    """A new job has the client's id under the project's number."""
    job = create(pipelines, "taxi-1")

    assert job.name == f"{CANONICAL}/pipelineJobs/taxi-1"


def test_create_keeps_the_spec(pipelines: Client, server: Server) -> None:
    """The engine gets the spec as it was sent."""
    create(pipelines, "taxi-1")

    assert server.engine.runs[0].spec == SPEC


def test_create_plans_once(tmp_path: Path) -> None:
    """The engine checks and plans a new job only once, however large its spec is."""
    planned: list[PipelineRun] = []
    with running_server(tmp_path, check=planned.append) as server:
        create(connect(aiplatform_v1.PipelineServiceClient, server, "grpc"), "taxi-1")

    assert len(planned) == 1


def test_same_id_twice_is_already_exists(pipelines: Client) -> None:
    """A second job of the same id is refused, so that a client can attach to the first."""
    create(pipelines, "taxi-1")

    with pytest.raises(exceptions.Conflict):
        create(pipelines, "taxi-1")


def test_get_shows_a_running_job(pipelines: Client) -> None:
    """A job that the engine has begun is RUNNING, with a start time."""
    name = create(pipelines, "taxi-1").name
    job = pipelines.get_pipeline_job(name=name.replace("123456789012", "taxi-local"))

    assert job.state == aiplatform_v1.PipelineState.PIPELINE_STATE_RUNNING
    assert job.start_time >= job.create_time


def test_unknown_job_is_not_found(pipelines: Client) -> None:
    """A job that does not exist is NOT_FOUND."""
    with pytest.raises(exceptions.NotFound, match="taxi-1"):
        pipelines.get_pipeline_job(name=f"{PARENT}/pipelineJobs/taxi-1")


def test_task_details(pipelines: Client, server: Server) -> None:
    """A task shows its outputs, its parameters and where its log is."""
    name = create(pipelines, "taxi-1").name
    server.engine.finish_task(name, "Trainer")
    task = pipelines.get_pipeline_job(name=name).job_detail.task_details[0]

    assert task.task_name == "Trainer"
    assert task.state == aiplatform_v1.PipelineTaskDetail.State.SUCCEEDED
    assert task.outputs["model"].artifacts[0].uri == "gs://b/model"
    assert task.outputs["model"].artifacts[0].metadata["version"] == 3
    assert task.execution.metadata["input:steps"] == 300
    assert task.execution.metadata["log_uri"] == "file:///logs/Trainer"


def test_failure_reaches_the_client(pipelines: Client, server: Server) -> None:
    """A failed job and its task carry code and message."""
    name = create(pipelines, "taxi-1").name
    server.engine.finish_task(name, "Trainer", TaskState.FAILED)
    server.engine.end(name, RunState.FAILED, Failure(code=Code.INTERNAL, message="Trainer: no gradient"))
    job = pipelines.get_pipeline_job(name=name)

    assert job.state == aiplatform_v1.PipelineState.PIPELINE_STATE_FAILED
    assert job.error.message == "Trainer: no gradient"
    assert "ZeroDivisionError" in job.job_detail.task_details[0].error.message
    assert job.end_time >= job.start_time


def test_parameters_reach_the_engine(pipelines: Client, server: Server) -> None:
    """Values of both schema versions become plain JSON."""
    create(
        pipelines,
        runtime_config={
            "gcs_output_directory": "gs://bkt/r",
            "parameters": {"old": {"int_value": 3}},
            "parameter_values": {"new": {"list": [1.5, "a"]}},
        },
    )

    assert server.engine.runs[0].parameter_values == {"old": 3, "new": {"list": [1.5, "a"]}}


@pytest.mark.parametrize(
    ("policy", "fail_fast"),
    [
        ("PIPELINE_FAILURE_POLICY_UNSPECIFIED", False),
        ("PIPELINE_FAILURE_POLICY_FAIL_SLOW", False),
        ("PIPELINE_FAILURE_POLICY_FAIL_FAST", True),
    ],
)
def test_the_failure_policy_reaches_the_engine(
    pipelines: Client, server: Server, policy: str, *, fail_fast: bool
) -> None:
    """Only fail-fast stops at the first failure."""
    create(pipelines, runtime_config={"gcs_output_directory": "gs://bkt/r", "failure_policy": policy})

    assert server.engine.runs[0].fail_fast == fail_fast


def test_times(pipelines: Client, server: Server) -> None:
    """A job is created, started and ended in this order; its update is the last that happened to it."""
    name = create(pipelines, "taxi-1").name
    running = pipelines.get_pipeline_job(name=name)
    server.engine.finish_task(name, "Trainer")
    server.engine.end(name, RunState.SUCCEEDED)
    ended = pipelines.get_pipeline_job(name=name)
    (task,) = ended.job_detail.task_details

    assert "end_time" not in running
    assert running.create_time <= running.start_time <= running.update_time
    assert running.update_time < ended.end_time <= ended.update_time
    assert running.start_time <= task.create_time <= task.start_time <= task.end_time <= ended.end_time


@pytest.mark.parametrize(
    ("job_id", "fields", "problem"),
    [
        ("Taxi", {}, "pipeline_job_id"),
        ("taxi", {"pipeline_spec": {}}, "pipeline_spec"),
        ("taxi", {"runtime_config": {"gcs_output_directory": "taxi"}}, "gcs_output_directory"),
        ("taxi", {"labels": {"Team": "ml"}}, "labels"),
        ("taxi", {"labels": {"team": "m l"}}, "labels"),
        ("taxi", {"display_name": "x" * 129}, "display_name"),
    ],
)
def test_wrong_jobs_are_refused(pipelines: Client, job_id: str, fields: dict[str, Any], problem: str) -> None:
    """A wrong field is named, in the message and as a BadRequest detail."""
    with pytest.raises(exceptions.BadRequest, match=problem) as raised:
        create(pipelines, job_id, **fields)

    assert any(problem in str(detail) for detail in raised.value.details)


def test_a_refused_spec_leaves_nothing(pipelines: Client) -> None:
    """A job that the engine refuses does not exist afterwards."""
    with pytest.raises(exceptions.BadRequest, match="needs 'Tuner'"):
        create(pipelines, "taxi-1", pipeline_spec={"pipelineInfo": {"name": "refused"}})

    assert list(pipelines.list_pipeline_jobs(parent=PARENT)) == []


def test_unsupported_fields_are_refused(pipelines: Client) -> None:
    """A job with a template from a registry is UNIMPLEMENTED and names the field."""
    with pytest.raises(exceptions.MethodNotImplemented, match="template_uri"):
        create(pipelines, template_uri="https://example.com/t")


def test_unsupported_services_are_refused(server: Server, transport: str) -> None:
    """A method of another service is UNIMPLEMENTED, and the message links to the list of such methods."""
    schedules = connect(aiplatform_v1.ScheduleServiceClient, server, transport)

    with pytest.raises(
        exceptions.MethodNotImplemented, match=r"ScheduleService\.ListSchedules.*fidelity\.md"
    ):
        schedules.list_schedules(parent=PARENT)


def test_other_versions_are_refused(server: Server) -> None:
    """A client of v1beta1 is told which version is served."""
    client = connect(aiplatform_v1beta1.PipelineServiceClient, server, "grpc")

    with pytest.raises(exceptions.MethodNotImplemented, match="serves v1 only"):
        client.list_pipeline_jobs(parent=PARENT)


def test_other_project_is_refused(pipelines: Client) -> None:
    """A project that is not the local one gets PERMISSION_DENIED."""
    with pytest.raises(exceptions.Forbidden, match="taxi-local"):
        pipelines.create_pipeline_job(
            parent="projects/other/locations/us-central1", pipeline_job=pipeline_job()
        )


def test_cancel(pipelines: Client) -> None:
    """A cancelled job ends as CANCELLED."""
    name = create(pipelines, "taxi-1").name
    pipelines.cancel_pipeline_job(name=name)
    job = pipelines.get_pipeline_job(name=name)

    assert job.state == aiplatform_v1.PipelineState.PIPELINE_STATE_CANCELLED


def test_cancel_after_the_end_is_refused(pipelines: Client, server: Server) -> None:
    """A job that has ended cannot be cancelled."""
    name = create(pipelines, "taxi-1").name
    server.engine.end(name, RunState.SUCCEEDED)

    with pytest.raises(exceptions.BadRequest, match="SUCCEEDED"):
        pipelines.cancel_pipeline_job(name=name)


def test_delete(pipelines: Client, server: Server) -> None:
    """A job that has ended can be deleted; the operation is done at once."""
    name = create(pipelines, "taxi-1").name
    server.engine.end(name, RunState.SUCCEEDED)
    pipelines.delete_pipeline_job(name=name).result(timeout=5)

    with pytest.raises(exceptions.NotFound):
        pipelines.get_pipeline_job(name=name)


def test_delete_of_a_running_job_is_refused(pipelines: Client) -> None:
    """A running job cannot be deleted."""
    name = create(pipelines, "taxi-1").name

    with pytest.raises(exceptions.BadRequest, match="cancel it"):
        pipelines.delete_pipeline_job(name=name)


def test_batch_delete(pipelines: Client, server: Server) -> None:
    """Several jobs are deleted together, or none."""
    names = [create(pipelines, f"taxi-{index}").name for index in range(2)]
    server.engine.end(names[0], RunState.SUCCEEDED)
    request = aiplatform_v1.BatchDeletePipelineJobsRequest(parent=PARENT, names=names)
    with pytest.raises(exceptions.BadRequest):
        pipelines.batch_delete_pipeline_jobs(request)
    left = len(list(pipelines.list_pipeline_jobs(parent=PARENT)))
    server.engine.end(names[1], RunState.FAILED)
    deleted = pipelines.batch_delete_pipeline_jobs(request).result(timeout=5)

    assert left == 2
    assert [job.name for job in deleted.pipeline_jobs] == names


def test_batch_cancel(pipelines: Client) -> None:
    """Several jobs are cancelled together."""
    names = [create(pipelines, f"taxi-{index}").name for index in range(2)]
    done = pipelines.batch_cancel_pipeline_jobs(parent=PARENT, names=names).result(timeout=5)

    assert {job.state.name for job in done.pipeline_jobs} == {"PIPELINE_STATE_CANCELLED"}


def test_a_late_report_does_not_revive_a_job(pipelines: Client, server: Server) -> None:
    """A final state is never left."""
    name = create(pipelines, "taxi-1").name
    server.engine.end(name, RunState.FAILED)
    server.engine.end(name, RunState.SUCCEEDED)

    assert pipelines.get_pipeline_job(name=name).state.name == "PIPELINE_STATE_FAILED"
