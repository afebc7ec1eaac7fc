from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from google.cloud import aiplatform_v1

from tests.conformance import specs
from tests.conformance.contract.resources import last

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conformance.cloud import Cloud
    from tests.conformance.contract.asking import Asking
    from tests.conformance.contract.resources import Started
    from tests.conformance.target import Client

pytestmark = pytest.mark.stack
_OUTPUT = aiplatform_v1.Event.Type.OUTPUT


@pytest.fixture(scope="module")
def cached(cloud: Cloud, started: Started) -> Client:
    """Return the job that repeats the main one, at its end."""
    first = cloud.ended_pipeline(started.main)
    assert first.state.name == "PIPELINE_STATE_SUCCEEDED", first.error.message
    spec = specs.main_pipeline(cloud.target.image)
    return cloud.ended_pipeline(cloud.submit("again", spec, text=cloud.target.run))


@pytest.fixture(scope="module")
def running(cloud: Cloud) -> str:
    """Return a job that runs until it is cancelled."""
    spec = specs.single_pipeline("sleeping", cloud.target.image, specs.SLEEP)
    name = cloud.submit("sleeping", spec)
    cloud.begun(cloud.pipelines.get_pipeline_job, name)
    return name


@pytest.fixture(scope="module")
def cancelled(cloud: Cloud, running: str) -> str:
    """Return a job that was cancelled while it ran."""
    cloud.pipelines.cancel_pipeline_job(name=running)
    cloud.ended_pipeline(running)
    return running


def tasks(job: Client) -> dict[str, Client]:
    """Return the details of the tasks that the spec names."""
    return {
        task.task_name: task
        for task in job.job_detail.task_details
        if task.task_name in {"make", "read", "only", "always", "never"}
    }


def test_the_name_of_a_job(ask: Asking, started: Started) -> None:
    """A job has the client's id, below a project that is named by its number."""
    shape = re.sub(r"^projects/\d+/locations/[a-z0-9-]+/", "projects/NUMBER/locations/REGION/", started.main)

    ask("pipeline.name", shape.removesuffix(last(started.main)) + "ID")


@pytest.mark.parametrize(
    ("question", "job"), [("pipeline.schema-2.1", "main"), ("pipeline.schema-2.0", "old_schema")]
)
def test_schemas(cloud: Cloud, ask: Asking, started: Started, question: str, job: str) -> None:
    """A pipeline of either schema runs."""
    ended = cloud.ended_pipeline(getattr(started, job))

    ask(question, ended.state.name, ended.error.message)


def test_a_driver(cloud: Cloud, ask: Asking, started: Started) -> None:
    """The result of a preCacheCheck hook reaches its container."""
    ended = cloud.ended_pipeline(started.driven)
    seen = tasks(ended)["only"].execution.metadata.get("output:seen")

    ask("pipeline.pre-cache-check", [ended.state.name, seen], ended.error.message)


def test_a_condition(cloud: Cloud, ask: Asking, started: Started) -> None:
    """A task whose condition is false is not run, and the job succeeds."""
    ended = cloud.ended_pipeline(started.conditional)

    ask("pipeline.condition", [ended.state.name, tasks(ended)["never"].state.name], ended.error.message)


def test_parameters(cloud: Cloud, ask: Asking, started: Started) -> None:
    """An execution's metadata holds the parameters that went in and came out."""
    metadata = tasks(cloud.ended_pipeline(started.main))["make"].execution.metadata
    found = {
        key: value for key, value in dict(metadata or {}).items() if key.startswith(("input:", "output:"))
    }

    ask("pipeline.parameters", {**found, "input:text": found.get("input:text") == cloud.target.run})


def test_artifacts(cloud: Cloud, ask: Asking, started: Started) -> None:
    """A task lists its outputs, which lie below the job's root."""
    outputs = tasks(cloud.ended_pipeline(started.main))["make"].outputs
    below = {
        key: listed.artifacts[0].uri.startswith(cloud.target.root)
        for key, listed in outputs.items()
        if listed.artifacts
    }

    ask("pipeline.artifacts", below)


def test_the_cache(ask: Asking, cached: Client) -> None:
    """A job that repeats another one runs nothing."""
    ask("pipeline.cache", {name: task.state.name for name, task in tasks(cached).items()})


def test_what_cached_tasks_list(ask: Asking, cached: Client) -> None:
    """A cached task may or may not list its outputs."""
    ask("pipeline.cache-outputs", sorted(tasks(cached)["make"].outputs))


def test_the_lineage_of_cached_tasks(cloud: Cloud, ask: Asking, cached: Client) -> None:
    """The execution of a cached task links to the artifacts of the first one."""
    execution = tasks(cached)["make"].execution.name
    graph = cloud.metadata.query_execution_inputs_and_outputs(execution=execution)
    made = {event.artifact for event in graph.events if event.type_ == _OUTPUT}

    ask("pipeline.cache-lineage", sorted(each.display_name for each in graph.artifacts if each.name in made))


def test_a_failure(cloud: Cloud, ask: Asking, started: Started) -> None:
    """A container that ends with 3 fails its task, and that its job."""
    job = cloud.ended_pipeline(started.failing)
    task = tasks(job)["only"]

    ask(
        "pipeline.failure",
        [[each.state.name, each.error.code] for each in (job, task)],
        f"{job.error.message} | {task.error.message}",
    )


def test_deleting_a_running_job(cloud: Cloud, ask: Asking, running: str) -> None:
    """A job that runs cannot be deleted."""
    ask.refused(
        "pipeline.delete-running",
        lambda: cloud.result(cloud.pipelines.delete_pipeline_job(name=running)),
    )


def test_a_cancellation(cloud: Cloud, ask: Asking, cancelled: str) -> None:
    """A job that is cancelled ends so."""
    ask("pipeline.cancel", cloud.pipelines.get_pipeline_job(name=cancelled).state.name)


def test_a_second_cancellation(cloud: Cloud, ask: Asking, cancelled: str) -> None:
    """A job that has ended cannot be cancelled."""
    ask.refused("pipeline.cancel-ended", lambda: cloud.pipelines.cancel_pipeline_job(name=cancelled))


def creation(**changes: object) -> Callable[[Cloud], object]:
    """Return a call that creates a job with some fields changed; one that is not refused is deleted later."""

    def create(cloud: Cloud) -> object:
        request = {
            "parent": cloud.target.parent,
            "pipeline_job_id": changes.get("job_id", f"conformance-{cloud.target.run}-wrong"),
            "pipeline_job": {
                "labels": {**cloud.target.labels, **changes.get("labels", {})},  # type: ignore[dict-item]  # of this test
                "pipeline_spec": specs.single_pipeline("wrong", cloud.target.image, "pass"),
                "runtime_config": {
                    "gcs_output_directory": changes.get("root", f"{cloud.target.root}/pipelines")
                },
            },
        }
        return cloud.pipelines.create_pipeline_job(request)

    return create


@pytest.mark.parametrize(
    ("question", "create"),
    [
        ("pipeline.bad-id", creation(job_id="Conformance")),
        ("pipeline.bad-label", creation(labels={"Team": "ml"})),
        ("pipeline.no-root", creation(root="")),
    ],
)
def test_wrong_jobs(cloud: Cloud, ask: Asking, question: str, create: Callable[[Cloud], object]) -> None:
    """A wrong job is refused at the door."""
    ask.refused(question, lambda: create(cloud))


def test_an_id_that_is_taken(cloud: Cloud, ask: Asking, started: Started) -> None:
    """A second job of an id is refused, so that a client can attach to the first."""
    ask.refused("pipeline.same-id", lambda: creation(job_id=last(started.main))(cloud))


@pytest.mark.parametrize(
    ("question", "method"),
    [("pipeline.absent", "get_pipeline_job"), ("pipeline.absent-cancel", "cancel_pipeline_job")],
)
def test_absent_jobs(cloud: Cloud, ask: Asking, question: str, method: str) -> None:
    """A job that does not exist is neither read nor cancelled."""
    name = f"{cloud.target.parent}/pipelineJobs/conformance-{cloud.target.run}-absent"

    ask.refused(question, lambda: getattr(cloud.pipelines, method)(name=name))


@pytest.mark.parametrize(
    ("question", "condition"),
    [
        ("pipeline.filter-label", 'display_name="conformance-main"'),
        ("pipeline.filter-state", 'state="PIPELINE_STATE_FAILED"'),
    ],
)
def test_filters(cloud: Cloud, ask: Asking, started: Started, question: str, condition: str) -> None:
    """Jobs are found by label together with name or state."""
    cloud.ended_pipeline(started.failing)
    found = cloud.listed(cloud.pipelines.list_pipeline_jobs, condition)

    ask(question, sorted(last(job.name).rpartition("-")[2] for job in found))


def test_a_filter_by_presence_and_by_what_is_not(cloud: Cloud, ask: Asking, started: Started) -> None:
    """A label that is there and states that are others narrow a list down."""
    ended = [cloud.ended_pipeline(name) for name in (started.main, started.failing)]
    condition = 'labels.app:* AND state!="PIPELINE_STATE_SUCCEEDED" AND state!="PIPELINE_STATE_CANCELLED"'
    found = {job.name for job in cloud.listed(cloud.pipelines.list_pipeline_jobs, condition)}

    ask("pipeline.filter-not-state", [job.name in found for job in ended])


def test_details_in_lists(cloud: Cloud, ask: Asking, started: Started) -> None:
    """A list omits the details of tasks."""
    cloud.ended_pipeline(started.main)
    (job,) = cloud.pipelines.list_pipeline_jobs(
        {
            "parent": cloud.target.parent,
            "filter": f'labels.run="{cloud.target.run}" AND display_name="conformance-main"',
        }
    )

    ask("pipeline.list-details", bool(job.job_detail.task_details))
