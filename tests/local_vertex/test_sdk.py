"""The google-cloud-aiplatform SDK over REST, with a real Cloud Storage beside it."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform, resourcemanager_v3
from google.cloud.aiplatform import initializer, pipeline_jobs
from google.cloud.aiplatform.utils import resource_manager_utils

from local_gcp.gcs import find_server
from local_vertex.domain.errors import Code
from local_vertex.domain.records import Failure
from local_vertex.domain.states import RunState
from tests.local_vertex.servers import CANONICAL, PROJECT, REGION
from tests.local_vertex.test_metadata import artifact, finished
from tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.local_vertex.servers import Client, Server

BUCKET = "taxi-local"
SPEC = {
    "pipelineInfo": {"name": "taxi"},
    "schemaVersion": "2.1.0",
    "sdkVersion": "tfx-1.21.0",
    "defaultPipelineRoot": f"gs://{BUCKET}/runs",
    "components": {},
    "root": {
        "dag": {"tasks": {}},
        "inputDefinitions": {"parameters": {"steps": {"parameterType": "NUMBER_INTEGER"}}},
    },
}
IMAGE = "taxi-vertex/pipeline:local"


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve Cloud Storage with one bucket."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = tmp_path_factory.mktemp("gcs")
    (root / BUCKET).mkdir()
    url = f"http://127.0.0.1:{port}"
    command = [str(find_server()), "-backend", "filesystem", "-filesystem-root", str(root), "-scheme", "http"]
    command += ["-host", "127.0.0.1", "-port", str(port), "-external-url", url]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _answers(f"{url}/storage/v1/b"))
        yield url
    finally:
        server.terminate()
        server.wait(10)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:
        return False


@pytest.fixture
def sdk(server: Server, gcs: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Point the SDK at the local servers.

    Its lookup of the project's number knows no endpoint setting, so its client gets one here; and it
    waits for a job from 5 s up, which is too long for a test.
    """
    credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]  # google.auth has none
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs)
    monkeypatch.setattr(pipeline_jobs, "_JOB_WAIT_TIME", 0.1)

    def projects(**_: object) -> Client:
        transport = resourcemanager_v3.ProjectsClient.get_transport_class("rest")
        host = f"127.0.0.1:{server.rest_port}"
        return resourcemanager_v3.ProjectsClient(
            transport=transport(host=host, credentials=credentials, url_scheme="http")
        )

    monkeypatch.setattr(f"{resource_manager_utils.__name__}.resourcemanager.ProjectsClient", projects)
    aiplatform.init(
        project=PROJECT,
        location=REGION,
        api_endpoint=server.rest_url,
        api_transport="rest",
        credentials=credentials,
        staging_bucket=f"gs://{BUCKET}",
    )
    yield aiplatform
    initializer.global_pool.shutdown(wait=True)
    initializer.global_config.__init__()  # type: ignore[misc]  # the SDK's own way to forget init()


@pytest.fixture
def job(sdk: Client, tmp_path: Path) -> Client:
    """Return a pipeline job that is not submitted yet."""
    template = tmp_path / "pipeline.json"
    template.write_text(json.dumps(SPEC))
    return sdk.PipelineJob(
        display_name="taxi",
        template_path=str(template),
        job_id="taxi-1",
        parameter_values={"steps": 300},
        enable_caching=False,
        labels={"run": "a"},
    )


def test_submit_and_wait(job: Client, server: Server) -> None:
    """A submitted job runs to its end."""
    job.submit()
    server.engine.finish_task(job.resource_name, "Trainer")
    server.engine.end(job.resource_name, RunState.SUCCEEDED)
    job.wait()

    assert job.resource_name == f"{CANONICAL}/pipelineJobs/taxi-1"
    assert job.state.name == "PIPELINE_STATE_SUCCEEDED"
    assert [task.task_name for task in job.task_details] == ["Trainer"]
    assert server.engine.runs[0].parameter_values == {"steps": 300}


@pytest.mark.parametrize("enable_caching", [True, False])
def test_caching_of_a_whole_job(sdk: Client, server: Server, tmp_path: Path, *, enable_caching: bool) -> None:
    """The SDK's switch reaches every task of the spec that the engine gets, whatever was compiled."""
    tasks = {
        name: {"componentRef": {"name": name}, "cachingOptions": {"enableCache": not enable_caching}}
        for name in ("CsvExampleGen", "Trainer")
    }
    template = tmp_path / "cached.json"
    template.write_text(json.dumps({**SPEC, "root": {"dag": {"tasks": tasks}}}))
    sdk.PipelineJob(display_name="taxi", template_path=str(template), enable_caching=enable_caching).submit()
    received = server.engine.runs[0].spec["root"]["dag"]["tasks"].values()

    assert [task["cachingOptions"] for task in received] == [{"enableCache": enable_caching}] * 2


def test_no_experiment(job: Client) -> None:
    """A job is associated with no experiment."""
    job.submit()

    assert job.get_associated_experiment() is None


def test_experiments_are_refused(sdk: Client, job: Client, server: Server) -> None:
    """A job for an experiment is refused before it starts, with the method that is missing."""
    with pytest.raises(RuntimeError, match="PipelineJob not created") as refused:
        job.submit(experiment="fares")
    cause = refused.value.__cause__

    assert isinstance(cause, exceptions.MethodNotImplemented)
    assert "MetadataService.CreateContext is not supported" in cause.message
    assert server.engine.runs == []
    assert sdk.PipelineJob.list() == []


def test_failed_job(job: Client, server: Server) -> None:
    """A failed job raises with the engine's message."""
    job.submit()
    failure = Failure(code=Code.INTERNAL, message="Trainer: no gradient; log: /logs/Trainer")
    server.engine.end(job.resource_name, RunState.FAILED, failure)

    with pytest.raises(RuntimeError, match="no gradient"):
        job.wait()


def test_list_get_cancel_delete(sdk: Client, job: Client) -> None:
    """A job is found by filter and name, cancelled and deleted."""
    job.submit()
    found = sdk.PipelineJob.list(filter='labels.run="a"', enable_simple_view=True)
    got = sdk.PipelineJob.get("taxi-1")
    got.cancel()
    wait_for(got.done)
    got.delete()

    assert [each.resource_name for each in found] == [job.resource_name]
    assert sdk.PipelineJob.list() == []


def test_lineage(sdk: Client, job: Client, server: Server) -> None:
    """The SDK leads from a job to its executions, from those to their artifacts, and back."""
    job.submit()
    trainer = finished(2, "Trainer", {}, {"model": (artifact("model", "tfx.Model"),)})
    server.engine.listener.task_changed(job.resource_name, trainer)
    context = sdk.Context.get("taxi-1")
    (execution,) = context.query_lineage_subgraph().executions
    made = sdk.Execution.get(execution.name.rpartition("/")[2]).get_output_artifacts()
    found = sdk.Artifact.list(filter='schema_title="tfx.Model"')

    assert context.schema_title == "system.PipelineRun"
    assert [(each.display_name, each.uri) for each in made] == [("model", "gs://b/model")]
    assert [each.resource_name for each in found] == [made[0].resource_name]


def upload(sdk: Client, **fields: object) -> Client:
    """Upload a model or version."""
    return sdk.Model.upload(
        display_name="fare",
        artifact_uri=f"gs://{BUCKET}/model",
        serving_container_image_uri=IMAGE,
        serving_container_predict_route="/predict",
        serving_container_health_route="/health",
        serving_container_environment_variables={"SEED": "1"},
        serving_container_ports=[8080],
        **fields,
    )


def test_model_versions(sdk: Client) -> None:
    """Versions are uploaded, found by alias and listed; aliases move."""
    first = upload(sdk)
    second = upload(sdk, parent_model=first.resource_name, is_default_version=False, version_aliases=["next"])
    registry = sdk.Model(first.resource_name).versioning_registry
    registry.add_version_aliases(["champion"], version="2")
    by_alias = sdk.Model(first.resource_name, version="champion")
    registry.update_version("2", version_description="june", labels={"month": "june"})
    versions = [each.version_id for each in registry.list_versions()]

    assert (first.version_id, second.version_id, by_alias.version_id) == ("1", "2", "2")
    assert sorted(versions) == ["1", "2"]
    assert sorted(registry.get_version_info("champion").version_aliases) == ["champion", "next"]
    assert [each.version_description for each in registry.list_versions()] == ["june", ""]


def test_endpoint(sdk: Client, server: Server) -> None:
    """A model is deployed, predicts, is replaced and undeployed."""
    model = upload(sdk)
    endpoint = sdk.Endpoint.create(display_name="fare")
    model.deploy(endpoint=endpoint, machine_type="n1-standard-4", deployed_model_display_name="first")
    first = endpoint.list_models()[0].id
    answer = endpoint.predict(instances=[{"miles": 1.5}])
    model.deploy(endpoint=endpoint, machine_type="n1-standard-4", traffic_split={"0": 100, first: 0})
    second = next(each.id for each in endpoint.list_models() if each.id != first)
    endpoint.undeploy(deployed_model_id=first)

    assert answer.predictions == [f"gs://{BUCKET}/model"]
    assert (answer.deployed_model_id, answer.model_version_id) == (first, "1")
    assert endpoint.traffic_split == {second: 100}
    assert server.models.containers[second].env == {"SEED": "1"}


def test_endpoint_update_and_delete(sdk: Client) -> None:
    """An endpoint is updated, listed and deleted with what is deployed on it."""
    endpoint = sdk.Endpoint.create(display_name="fare", labels={"team": "ml"})
    upload(sdk).deploy(endpoint=endpoint, machine_type="n1-standard-4")
    endpoint.update(display_name="fare usd")
    found = sdk.Endpoint.list(filter='display_name="fare usd"')
    endpoint.delete(force=True)

    assert [each.resource_name for each in found] == [endpoint.resource_name]
    assert sdk.Endpoint.list() == []


def test_custom_job(sdk: Client, server: Server) -> None:
    """A custom job is submitted and waited for."""
    pool = {
        "machine_spec": {"machine_type": "n1-standard-4"},
        "replica_count": 1,
        "container_spec": {"image_uri": IMAGE, "command": ["true"], "args": []},
    }
    job = sdk.CustomJob(display_name="compile", worker_pool_specs=[pool], labels={"run": "a"})
    job.submit()
    server.jobs.report(job.resource_name, RunState.SUCCEEDED)
    job.wait()

    assert job.state.name == "JOB_STATE_SUCCEEDED"
    assert [each.resource_name for each in sdk.CustomJob.list(filter="labels.run=a")] == [job.resource_name]
