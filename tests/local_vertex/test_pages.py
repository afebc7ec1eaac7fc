"""The pages for people, read over plain HTTP as a browser does."""

from __future__ import annotations

import shutil
import subprocess
import urllib.error
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from google.cloud import aiplatform_v1

from local_vertex.domain.errors import Code
from local_vertex.domain.records import Failure
from local_vertex.domain.states import RunState, TaskState
from local_vertex.server.methods import method_table
from local_vertex.ui import formats
from local_vertex.ui.pages import PREFIX
from local_vertex.ui.sources import Sources
from tests.local_vertex.servers import CANONICAL, PARENT, connect
from tests.local_vertex.test_pipeline_jobs import SPEC

if TYPE_CHECKING:
    from pathlib import Path

    from local_vertex.api.messages import Message
    from local_vertex.ui.runs import RunView
    from tests.local_vertex.servers import Client, Server

RUN = f"/console/{CANONICAL}/pipelineJobs/taxi-1"
CHROMIUM = shutil.which("chromium")


def read(server: Server, path: str) -> tuple[int, str]:
    """Return status and text of a page."""
    try:
        with urllib.request.urlopen(f"{server.rest_url}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def submit(server: Server, name: str = "taxi") -> str:
    """Submit the pipeline job `taxi-1` and return its resource name."""
    pipelines: Client = connect(aiplatform_v1.PipelineServiceClient, server, "grpc")
    job = {
        "display_name": name,
        "pipeline_spec": SPEC,
        "runtime_config": {"gcs_output_directory": "gs://bkt/root"},
    }
    return str(pipelines.create_pipeline_job(parent=PARENT, pipeline_job=job, pipeline_job_id="taxi-1").name)


def upload(server: Server) -> str:
    """Upload a model with an alias and return its name."""
    models: Client = connect(aiplatform_v1.ModelServiceClient, server, "grpc")
    model = {
        "display_name": "fare",
        "artifact_uri": "gs://bkt/model",
        "container_spec": {"image_uri": "image"},
        "version_aliases": ["champion"],
    }
    return str(models.upload_model(parent=PARENT, model=model).result(timeout=10).model)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/console?start={'9' * 5000}", 400),
        ("/console?start=-1", 400),
        ("/console?start=%C2%B2", 400),
        (f"/console?start={'9' * 9}", 200),
        ("/console/%FF", 404),
        ("/console/projects/%00/locations/%FF/pipelineJobs/%ED%A0%80", 403),
        (f"/console/{PARENT}/models/{'m' * 5000}", 404),
        (f"/console/{PARENT}/pipelineJobs/a/tasks/%00/log", 404),
    ],
)
def test_an_address_that_is_none(server: Server, path: str, expected: int) -> None:
    """An address that nothing links to is a page that says so, never a failure of the server."""
    status, text = read(server, path)

    assert status == expected
    assert "<title>" in text


@pytest.mark.parametrize("text", ["[" * 99999, "[NaN", "[" + "9" * 5000 + "]"])
def test_a_string_that_is_nearly_json_is_shown_as_it_is(text: str) -> None:
    """A parameter may begin as JSON does and be anything."""
    shown = formats.value(text)

    assert shown == text


@pytest.mark.parametrize("path", ["/console", "/console/models", "/console/endpoints", "/console/customJobs"])
def test_an_empty_server_has_pages(server: Server, path: str) -> None:
    """The page of an empty list says that it is empty."""
    status, text = read(server, path)

    assert status == 200
    assert "No " in text


def test_the_list_counts_tasks_and_cache_hits(server: Server) -> None:
    """A run's row has its state, its ended tasks and how many came from the cache."""
    name = submit(server)
    server.engine.finish_task(name, "Trainer", TaskState.SKIPPED)
    text = read(server, "/console")[1]

    assert f'href="/console/{name}"' in text
    assert ">running<" in text
    assert "1 / 1<small>1 cached</small>" in text


def test_a_run_shows_its_graph(server: Server) -> None:
    """Each task is a node with its state, and a link to its page."""
    name = submit(server)
    server.engine.finish_task(name, "Trainer")
    text = read(server, RUN)[1]

    assert f'<a href="{RUN}/tasks/1">' in text
    assert 'class="node" data-state="SUCCEEDED"' in text
    assert 'data-poll="1000"' in text


def test_the_project_may_be_named_by_its_id(server: Server) -> None:
    """The link of a client that uses the project's id leads to the same page."""
    submit(server)

    assert read(server, f"/console/{PARENT}/pipelineJobs/taxi-1")[0] == 200


def test_a_finished_run_is_not_asked_for_again(server: Server) -> None:
    """The page of a run that has failed shows why, and stops reloading."""
    name = submit(server)
    server.engine.end(name, RunState.FAILED, Failure(code=Code.INTERNAL, message="Trainer: <no memory>"))
    text = read(server, RUN)[1]

    assert "Trainer: &lt;no memory&gt;" in text
    assert 'data-poll="0"' in text


def test_a_task_shows_inputs_outputs_and_parameters(server: Server) -> None:
    """A task's page has its artifacts with their properties, and its parameters."""
    name = submit(server)
    server.engine.finish_task(name, "Trainer")
    text = read(server, f"{RUN}/tasks/1")[1]

    assert "gs://b/model" in text
    assert "tfx.Model" in text
    assert "<dt>steps</dt>" in text


def test_a_task_shows_what_it_does_not_get(server: Server) -> None:
    """The page of a task lists the resources that it requests but does not get on this machine."""
    name = submit(server)
    trainer = server.engine.finish_task(name, "Trainer")
    noted = replace(trainer, notes=("accelerator NVIDIA_TESLA_T4 x 1 is ignored",))
    server.engine.listener.task_changed(name, noted)

    assert "<li>accelerator NVIDIA_TESLA_T4 x 1 is ignored</li>" in read(server, f"{RUN}/tasks/1")[1]


def test_an_input_leads_to_the_task_that_made_it(server: Server) -> None:
    """An input of a task that another task of the run has made is linked to that task."""
    name = submit(server)
    trainer = server.engine.finish_task(name, "Trainer")
    pusher = replace(trainer, task_id=2, name="Pusher", inputs=trainer.outputs, outputs={})
    server.engine.listener.task_changed(name, pusher)
    text = read(server, f"{RUN}/tasks/2")[1]

    assert f'from <a href="{RUN}/tasks/1">Trainer</a>' in text


def test_a_log_is_shown_from_its_end_and_served_whole(server: Server, tmp_path: Path) -> None:
    """A long log is cut at a line, and can be read as a whole."""
    log = tmp_path / "log.txt"
    log.write_text("first line\n" + "a line of this log\n" * 20_000 + "the root cause\n")
    name = submit(server)
    server.engine.finish_task(name, "Trainer", log_path=log)
    shown = read(server, f"{RUN}/tasks/1")[1]
    status, whole = read(server, f"{RUN}/tasks/1/log")

    assert "the root cause" in shown
    assert "first line" not in shown
    assert (status, whole) == (200, log.read_text())


def test_texts_of_clients_are_escaped(server: Server) -> None:
    """A display name is text, whatever it looks like."""
    submit(server, "<script>alert(1)</script>")

    assert "<script>alert" not in read(server, RUN)[1]


def test_models_and_endpoints_know_each_other(server: Server) -> None:
    """A version shows its aliases and where it serves; an endpoint shows its split."""
    model = upload(server)
    endpoints: Client = connect(aiplatform_v1.EndpointServiceClient, server, "grpc")
    endpoint = endpoints.create_endpoint(parent=PARENT, endpoint={"display_name": "fares"}).result(timeout=10)
    resources = {"machine_spec": {"machine_type": "n1-standard-2"}, "min_replica_count": 1}
    deployed = {"model": model, "display_name": "fare-v1", "dedicated_resources": resources}
    deploy = endpoints.deploy_model(endpoint=endpoint.name, deployed_model=deployed, traffic_split={"0": 100})
    deploy.result(timeout=10)

    assert "champion" in read(server, f"/console/{model}")[1]
    assert ">fares</a>, 100 % of its traffic" in read(server, f"/console/{model}@1")[1]
    assert "100 % fare-v1" in read(server, "/console/endpoints")[1]
    assert f'href="/console/{model}@1"' in read(server, f"/console/{endpoint.name}")[1]


def test_a_custom_job_has_a_page(server: Server) -> None:
    """A custom job shows its state and command."""
    jobs: Client = connect(aiplatform_v1.JobServiceClient, server, "grpc")
    pool = {
        "container_spec": {"image_uri": "image", "command": ["python", "-m", "compile"]},
        "replica_count": 1,
    }
    pool["machine_spec"] = {"machine_type": "n1-standard-4"}
    job = jobs.create_custom_job(
        parent=PARENT, custom_job={"display_name": "compile", "job_spec": {"worker_pool_specs": [pool]}}
    )
    text = read(server, f"/console/{job.name}")[1]

    assert "python\n-m\ncompile" in text
    assert read(server, f"/console/{job.name}/log")[0] == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (RUN, 404),
        (f"{RUN}/tasks/7", 404),
        ("/console/nothing", 404),
        ("/console/projects/other/locations/us-central1/pipelineJobs/a", 403),
        ("/console/projects/taxi-local/locations/mars/pipelineJobs/a", 400),
        ("/console/static/../pages.py", 404),
    ],
)
def test_what_does_not_exist_is_a_page_too(server: Server, path: str, status: int) -> None:
    """A wrong address has its HTTP status and says what is wrong."""
    assert read(server, path)[0] == status


def test_pages_ask_nobody_else(server: Server) -> None:
    """Style, script and icon come from the server itself, and the browser is told so."""
    with urllib.request.urlopen(f"{server.rest_url}/console", timeout=10) as answer:
        policy, text = answer.headers["Content-Security-Policy"], answer.read().decode()

    assert policy.startswith("default-src 'none';")
    assert "http" not in text
    assert all(
        read(server, f"/console/static/{file}")[0] == 200 for file in ("style.css", "live.js", "icon.svg")
    )


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_a_browser_shows_changes_by_itself(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page of a run that ends after it was opened shows the end, without a reload."""
    name, find_run = submit(server), Sources.run
    reads: list[str] = []

    def run(sources: Sources, asked: str) -> tuple[Message, RunView]:
        if reads:
            server.engine.end(name, RunState.SUCCEEDED)
        reads.append(asked)
        return find_run(sources, asked)

    monkeypatch.setattr(Sources, "run", run)
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
    options += " --disable-background-networking --disable-component-update --dump-dom"
    command = [str(CHROMIUM), *options.split(), f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--virtual-time-budget=9000", f"{server.rest_url}{RUN}"]
    browser = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)

    assert len(reads) == 2
    assert '<span class="state" data-state="SUCCEEDED">' in browser.stdout


def test_no_method_of_the_api_is_hidden() -> None:
    """No URL of Vertex AI's own API is one of the pages."""
    uris = [rule.uri for method in method_table({}) for rule in method.rules]

    assert uris
    assert not any(uri.startswith(PREFIX) for uri in uris)
