"""Custom jobs of JobService through the official clients, over gRPC and REST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions

from local_vertex.domain.errors import Code
from local_vertex.domain.records import Failure
from local_vertex.domain.states import RunState
from tests.local_vertex.servers import CANONICAL, PARENT

if TYPE_CHECKING:
    from tests.local_vertex.servers import Client, Server


def custom_job(image: str = "taxi-vertex/pipeline:local", **fields: object) -> dict[str, Any]:
    """Return a valid job, with some fields changed."""
    container = {
        "image_uri": image,
        "command": ["python", "-m", "taxi_ml.pipeline.compile"],
        "args": ["--out", "gs://b/pipeline.json"],
        "env": [{"name": "SEED", "value": "1"}],
    }
    pool = {
        "container_spec": container,
        "machine_spec": {"machine_type": "n1-standard-4"},
        "replica_count": 1,
    }
    return {"display_name": "compile", "job_spec": {"worker_pool_specs": [pool]}, **fields}


def test_the_server_chooses_the_id(custom_jobs: Client) -> None:
    """A new job's id consists of digits."""
    job = custom_jobs.create_custom_job(parent=PARENT, custom_job=custom_job())

    assert job.name.removeprefix(f"{CANONICAL}/customJobs/").isdigit()


def test_the_runner_gets_the_container(custom_jobs: Client, server: Server) -> None:
    """Command, arguments and environment reach the runner."""
    custom_jobs.create_custom_job(parent=PARENT, custom_job=custom_job())
    container = server.jobs.runs[0].container

    assert container.command == ("python", "-m", "taxi_ml.pipeline.compile")
    assert container.args == ("--out", "gs://b/pipeline.json")
    assert container.env == {"SEED": "1"}


def test_list_by_label(custom_jobs: Client) -> None:
    """A job is found by its labels, so that a client can attach to it."""
    for run in ("a", "b"):
        custom_jobs.create_custom_job(parent=PARENT, custom_job=custom_job(labels={"run": run}))
    found = custom_jobs.list_custom_jobs({"parent": PARENT, "filter": 'labels.run="b"'})

    assert [dict(job.labels) for job in found] == [{"run": "b"}]


def test_failure(custom_jobs: Client, server: Server) -> None:
    """A failed job has an error and the address of its log."""
    name = custom_jobs.create_custom_job(parent=PARENT, custom_job=custom_job()).name
    server.jobs.report(name, RunState.FAILED, Failure(code=Code.INTERNAL, message="exit status 3"))
    job = custom_jobs.get_custom_job(name=name)

    assert job.state.name == "JOB_STATE_FAILED"
    assert job.error.message == "exit status 3"
    assert job.web_access_uris["log"] == "file:///logs/job"


def test_cancel_and_delete(custom_jobs: Client) -> None:
    """A cancelled job can be deleted."""
    name = custom_jobs.create_custom_job(parent=PARENT, custom_job=custom_job()).name
    custom_jobs.cancel_custom_job(name=name)
    state = custom_jobs.get_custom_job(name=name).state.name
    custom_jobs.delete_custom_job(name=name).result(timeout=5)

    assert state == "JOB_STATE_CANCELLED"
    with pytest.raises(exceptions.NotFound):
        custom_jobs.get_custom_job(name=name)


@pytest.mark.parametrize(
    ("job", "problem"),
    [
        (custom_job(image=""), "image_uri"),
        (custom_job(image="unknown"), "image table"),
        (custom_job(display_name=""), "display_name"),
        (custom_job(job_spec={}), "worker_pool_specs"),
        (custom_job(labels={"run": "A"}), "labels"),
    ],
)
def test_wrong_jobs_are_refused(custom_jobs: Client, job: dict[str, Any], problem: str) -> None:
    """A wrong job is refused with the field, and nothing is kept."""
    with pytest.raises(exceptions.BadRequest, match=problem):
        custom_jobs.create_custom_job(parent=PARENT, custom_job=job)

    assert list(custom_jobs.list_custom_jobs(parent=PARENT)) == []


def test_several_pools_are_unimplemented(custom_jobs: Client) -> None:
    """Distributed jobs are refused at the door."""
    pool = custom_job()["job_spec"]["worker_pool_specs"][0]
    job = custom_job(job_spec={"worker_pool_specs": [pool, pool]})

    with pytest.raises(exceptions.MethodNotImplemented, match="2 worker pools"):
        custom_jobs.create_custom_job(parent=PARENT, custom_job=job)
