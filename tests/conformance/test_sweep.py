from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.api_core import exceptions

from tests.conformance import specs
from tests.conformance.cloud import Cloud
from tests.conformance.sweep import sweep
from tests.conformance.target import APP, Target
from tests.local_vertex.servers import running_server
from tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.local_stack import LocalStack
    from tests.local_vertex.servers import Server

pytestmark = pytest.mark.stack


@pytest.fixture
def server(tmp_path: Path, stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Return a Vertex AI whose jobs run until they are cancelled, beside Cloud Storage."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", stack.environment["STORAGE_EMULATOR_HOST"])
    with running_server(tmp_path) as running:
        yield running


@pytest.fixture
def cloud(server: Server) -> Cloud:
    """Return clients of it."""
    return another(server)


def another(server: Server) -> Cloud:
    """Return the clients of another run."""
    endpoint = f"http://127.0.0.1:{server.grpc_port}"
    return Cloud(target=Target(project="taxi-local", bucket="taxi-local", image="image:1", endpoint=endpoint))


def pipelines(cloud: Cloud) -> list[str]:
    """Return the names of all pipeline jobs."""
    return [job.name for job in cloud.pipelines.list_pipeline_jobs(parent=cloud.target.parent)]


def submit(cloud: Cloud) -> str:
    """Start a pipeline job that does not end."""
    return cloud.submit("sleeping", specs.single_pipeline("sleeping", cloud.target.image, specs.SLEEP))


def test_running_jobs_are_cancelled_and_deleted(cloud: Cloud) -> None:
    """Running jobs are cancelled and deleted."""
    submit(cloud)
    job = specs.custom_job("sleeping", cloud.target, specs.SLEEP)
    cloud.jobs.create_custom_job(parent=cloud.target.parent, custom_job=job)
    left = sweep(cloud, run=cloud.target.run)

    assert left == []
    assert pipelines(cloud) == []
    assert list(cloud.jobs.list_custom_jobs(parent=cloud.target.parent)) == []


def test_a_deployment_under_way_is_stopped(cloud: Cloud, server: Server) -> None:
    """An endpoint is deleted with its deployed models, and with those that were about to be deployed."""
    labels, parent = cloud.target.labels, cloud.target.parent
    name = cloud.result(
        cloud.endpoints.create_endpoint(parent=parent, endpoint={"display_name": "x", "labels": labels})
    ).name
    for artifact in ("gs://bucket/model", "gs://bucket/model", "gs://bucket/slow"):
        model = {**specs.model(cloud.target), "artifact_uri": artifact}
        uploaded = cloud.result(cloud.models.upload_model(parent=parent, model=model)).model
        operation = cloud.endpoints.deploy_model(
            endpoint=name,
            deployed_model={
                "model": uploaded,
                "automatic_resources": {"min_replica_count": 1, "max_replica_count": 1},
            },
        )
        if "slow" not in artifact:
            cloud.result(operation)
    left = sweep(cloud, run=cloud.target.run)

    assert left == []
    assert list(cloud.endpoints.list_endpoints(parent=parent)) == []
    assert list(cloud.models.list_models(parent=parent)) == []
    wait_for(lambda: server.models.running() == ())


def test_other_runs_and_other_peoples_jobs_stay(cloud: Cloud, server: Server) -> None:
    """Only resources with the run's labels are deleted."""
    submit(cloud)
    other = submit(another(server))
    left = sweep(cloud, run=cloud.target.run)

    assert left == []
    assert pipelines(cloud) == [other]


def test_without_a_run_all_runs_are_swept(cloud: Cloud, server: Server) -> None:
    """Leftovers of killed runs are found by the suite's label."""
    submit(cloud)
    submit(another(server))
    left = sweep(another(server))

    assert left == []
    assert pipelines(cloud) == []


def test_what_no_list_shows_is_deleted_by_name(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that lags behind hides no resource of this run."""
    submit(cloud)
    monkeypatch.setattr(type(cloud.pipelines), "list_pipeline_jobs", lambda *_: [])
    left = sweep(cloud, run=cloud.target.run)
    monkeypatch.undo()

    assert left == []
    assert pipelines(cloud) == []


def test_one_failure_does_not_keep_the_rest(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resources that cannot be deleted are reported, and everything else is deleted."""
    submit(cloud)

    def refuse(*_: object) -> None:
        raise exceptions.Forbidden("you may not list custom jobs")  # type: ignore[no-untyped-call]  # no types

    monkeypatch.setattr(type(cloud.jobs), "list_custom_jobs", refuse)
    (left,) = sweep(cloud, run=cloud.target.run)

    assert left == "the list of customJobs: 403 you may not list custom jobs"
    assert pipelines(cloud) == []


def test_files_of_the_run_are_deleted(cloud: Cloud, stack: LocalStack) -> None:
    """Objects of the bucket that are not the run's are kept."""
    bucket = stack.storage_client().bucket("taxi-local")
    for path in (f"{APP}/{cloud.target.run}/pipelines/a", f"{APP}-of-others/a"):
        bucket.blob(path).upload_from_string("x")
    left = sweep(cloud, run=cloud.target.run)

    assert left == []
    assert [blob.name for blob in bucket.list_blobs(prefix=APP)] == [f"{APP}-of-others/a"]
    bucket.blob(f"{APP}-of-others/a").delete()
