from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from google.protobuf import json_format

from local_vertex.domain.errors import Code
from local_vertex.domain.records import Failure
from local_vertex.domain.states import RunState, TaskState
from tests.airflow.servers import REGION, connect_to
from tests.airflow.tasks import context, in_background, run_task
from tests.waiting import wait_for
from vertex_airflow.labels import job_id
from vertex_airflow.operators.pipeline_job import VertexPipelineJobOperator
from vertex_airflow.operators.waiting import VertexError

if TYPE_CHECKING:
    import threading

    from tests.airflow.servers import Running, Vertex
    from tests.local_stack import LocalStack

pytestmark = pytest.mark.stack
SPEC_URI = "gs://taxi-local/specs/pipeline.json"
TASKS = {"Trainer": {"cachingOptions": {"enableCache": True}}}
DOCUMENT = {
    "displayName": "taxi",
    "pipelineSpec": {
        "pipelineInfo": {"name": "taxi"},
        "schemaVersion": "2.1.0",
        "root": {"dag": {"tasks": TASKS}},
    },
    "runtimeConfig": {"gcsOutputDirectory": "gs://taxi-local/root"},
}


@pytest.fixture(autouse=True)
def spec(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a compiled pipeline on Cloud Storage."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", stack.environment["STORAGE_EMULATOR_HOST"])
    bucket = stack.storage_client().bucket("taxi-local")
    bucket.blob("specs/pipeline.json").upload_from_string(json.dumps(DOCUMENT))
    bucket.blob("specs/broken.json").upload_from_string("{")


def operator(**changes: Any) -> VertexPipelineJobOperator:  # noqa: ANN401  # arguments of the operator
    """Return the operator under test, with short polling intervals."""
    arguments: dict[str, Any] = {
        "task_id": "run_pipeline",
        "region": REGION,
        "spec_uri": SPEC_URI,
        "labels": {"app": "taxi-vertex"},
        "shortest_poll": 0.05,
        "longest_poll": 0.2,
        "settle": 0.0,
        **changes,
    }
    return VertexPipelineJobOperator(**arguments)


def end_soon(vertex: Vertex, state: RunState, runs: int = 1) -> threading.Thread:
    """End the newest pipeline, with one task of that state, once there are that many."""

    def work() -> None:
        wait_for(lambda: len(vertex.engine.runs) == runs)
        name = vertex.engine.runs[-1].name
        vertex.engine.finish_task(name, "Trainer", TaskState(state.value))
        failed = state is RunState.FAILED
        vertex.engine.end(
            name, state, Failure(code=Code.INTERNAL, message="1 task failed") if failed else None
        )

    return in_background(work)


def test_a_pipeline_gives_the_addresses_of_its_outputs(vertex: Vertex) -> None:
    """The task returns the job's name and the URI of each component's output."""
    end_soon(vertex, RunState.SUCCEEDED)

    returned = run_task(operator(), context())

    assert returned == {
        "job": vertex.engine.runs[0].name,
        "artifacts": {"Trainer.model": "gs://b/model"},
        "properties": {},
    }


def skip_soon(vertex: Vertex) -> threading.Thread:
    """End the newest pipeline with one task that came from the cache."""

    def work() -> None:
        wait_for(lambda: len(vertex.engine.runs) == 1)
        name = vertex.engine.runs[-1].name
        vertex.engine.finish_task(name, "Trainer", TaskState.SKIPPED)
        vertex.engine.end(name, RunState.SUCCEEDED)

    return in_background(work)


@pytest.mark.parametrize("lean_skipped", [False, True])
def test_a_pipeline_from_the_cache_gives_the_addresses_too(
    running: Running, monkeypatch: pytest.MonkeyPatch, *, lean_skipped: bool
) -> None:
    """The task returns the outputs of cached components, even if the job does not list them."""
    vertex = running.start(lean_skipped=lean_skipped)
    connect_to(vertex.grpc_port, monkeypatch)
    skip_soon(vertex)

    asked = ["Trainer.model.folder", "Trainer.model.version", "Trainer.other.folder"]
    returned = run_task(operator(required_outputs=["Trainer.model"], properties=asked), context())

    assert returned["artifacts"] == {"Trainer.model": "gs://b/model"}
    assert returned["properties"] == {"Trainer.model.folder": "gs://b/serving"}


def test_a_pipeline_without_a_required_output(vertex: Vertex) -> None:
    """A job without a required output fails the task without a retry, and the error says how to get it."""
    end_soon(vertex, RunState.SUCCEEDED)

    with pytest.raises(AirflowFailException, match=r"list Report\.report: run the pipeline again without"):
        run_task(operator(required_outputs=["Report.report"]), context())


def test_the_id_follows_from_the_run(vertex: Vertex) -> None:
    """DAG id and run id make the job's id."""
    task = operator()

    with pytest.raises(TaskDeferred):
        task.execute(context("scheduled__2015-07-01"))

    assert job_id(task.dag_id, "scheduled__2015-07-01") == vertex.engine.runs[0].job_id


def test_another_try_attaches(vertex: Vertex) -> None:
    """However often a task is tried, its DAG run has one active job."""
    for _ in range(3):
        with pytest.raises(TaskDeferred):
            operator().execute(context())

    assert len(vertex.engine.runs) == 1


def test_a_retry_of_a_failed_pipeline_is_another_attempt(vertex: Vertex) -> None:
    """A failed pipeline is followed by one with the attempt in its id, which the cache lets resume."""
    task = operator()
    end_soon(vertex, RunState.FAILED)
    with pytest.raises(VertexError):
        run_task(task, context())
    end_soon(vertex, RunState.SUCCEEDED, runs=2)

    run_task(task, context())

    assert job_id(task.dag_id, "manual__1", attempt=1) == vertex.engine.runs[1].job_id


def test_a_given_id_carries_its_attempt(vertex: Vertex) -> None:
    """An id of the DAG's own choice is kept for the first attempt and marked for the next."""
    end_soon(vertex, RunState.FAILED)
    with pytest.raises(VertexError):
        run_task(operator(job_id="my-job"), context())

    with pytest.raises(TaskDeferred):
        operator(job_id="my-job").execute(context())

    assert [run.job_id for run in vertex.engine.runs] == ["my-job", "my-job-attempt1"]


def test_an_own_id_is_cut_to_what_vertex_ai_takes(vertex: Vertex) -> None:
    """An id has fewer than 128 characters, with its attempt."""
    end_soon(vertex, RunState.FAILED)
    with pytest.raises(VertexError):
        run_task(operator(job_id="j" * 200), context())
    with pytest.raises(TaskDeferred):
        operator(job_id="j" * 200).execute(context())

    assert [run.job_id for run in vertex.engine.runs] == ["j" * 127, "j" * 118 + "-attempt1"]


@pytest.mark.parametrize(
    "part", ["component: Trainer (FAILED)", "cause: ", "log: /logs/Trainer", "job: https://"]
)
def test_a_failed_pipeline_explains_itself(vertex: Vertex, part: str) -> None:
    """The error names the component, its cause, its log and the job's page."""
    end_soon(vertex, RunState.FAILED)

    with pytest.raises(VertexError) as raised:
        run_task(operator(), context())

    assert part in str(raised.value)


def test_parameters_and_labels_reach_the_job(vertex: Vertex) -> None:
    """The job has the labels, parameters and pipeline root that the operator was given."""
    with pytest.raises(TaskDeferred):
        operator(parameter_values={"steps": 7}, pipeline_root="gs://taxi-local/other").execute(context())

    job = vertex.hook.pipelines.get_pipeline_job(name=vertex.engine.runs[0].name)
    assert {"app": "taxi-vertex", "attempt": "0"}.items() <= dict(job.labels).items()
    assert job.runtime_config.gcs_output_directory == "gs://taxi-local/other"
    assert dict(job.runtime_config.parameter_values) == {"steps": 7}


@pytest.mark.parametrize(
    ("schema", "field", "steps"),
    [("2.1.0", "parameter_values", 7.0), ("2.0.0", "parameters", {"int_value": "7"})],
)
def test_parameters_of_a_document_reach_the_job(
    vertex: Vertex, stack: LocalStack, schema: str, field: str, steps: object
) -> None:
    """Values may lie on Cloud Storage; the job has them in the field that its schema's version reads."""
    bucket = stack.storage_client().bucket("taxi-local")
    spec = {**DOCUMENT["pipelineSpec"], "schemaVersion": schema}  # type: ignore[dict-item]  # of strings
    bucket.blob("specs/other.json").upload_from_string(json.dumps({**DOCUMENT, "pipelineSpec": spec}))
    bucket.blob("specs/parameters.json").upload_from_string(json.dumps({"window": "june", "steps": 1}))
    task = operator(
        spec_uri="gs://taxi-local/specs/other.json",
        parameters_uri="gs://taxi-local/specs/parameters.json",
        parameter_values={"steps": 7},
    )
    with pytest.raises(TaskDeferred):
        task.execute(context())

    job = vertex.hook.pipelines.get_pipeline_job(name=vertex.engine.runs[0].name)
    runtime = json_format.MessageToDict(type(job).pb(job).runtime_config, preserving_proto_field_name=True)
    assert runtime[field]["steps"] == steps
    assert vertex.engine.runs[0].parameter_values == {"window": "june", "steps": 7}


@pytest.mark.parametrize(("enabled", "options"), [(None, {"enableCache": True}), ("False", {})])
def test_caching_can_be_overridden(vertex: Vertex, enabled: str | None, options: dict[str, bool]) -> None:
    """Caching is as compiled unless the operator says otherwise."""
    with pytest.raises(TaskDeferred):
        operator(enable_caching=enabled).execute(context())

    task = vertex.engine.runs[0].spec["root"]["dag"]["tasks"]["Trainer"]
    assert options == task["cachingOptions"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("gs://taxi-local/specs/broken.json", "is not valid JSON"),
        ("gs://taxi-local/specs/missing.json", "missing.json does not exist"),
    ],
)
def test_a_spec_that_cannot_be_read_submits_nothing(vertex: Vertex, uri: str, message: str) -> None:
    """A broken or missing pipeline.json fails without a retry, naming its address."""
    with pytest.raises(AirflowFailException, match=message):
        operator(spec_uri=uri).execute(context())

    assert vertex.engine.runs == []


def test_a_refused_pipeline_fails_for_good(vertex: Vertex) -> None:
    """A job that the service refuses is not retried."""
    vertex.engine.accept = refuse  # type: ignore[method-assign]  # the engine's answer at the door

    with pytest.raises(AirflowFailException, match="no such component"):
        operator().execute(context())


def refuse(run: object) -> NoReturn:
    """Refuse a run as the engine does."""
    from local_vertex.domain.errors import InvalidArgument  # noqa: PLC0415

    raise InvalidArgument(f"no such component in {type(run).__name__}")


def test_a_kill_while_submitting_cancels_what_was_created(vertex: Vertex) -> None:
    """A task that is killed between the create call and its wait leaves no job behind."""
    task = operator()
    task._killed.set()  # noqa: SLF001  # the signal came while the create call was under way

    with pytest.raises(VertexError, match="killed"):
        task.execute(context())

    job = vertex.hook.pipelines.get_pipeline_job(name=vertex.engine.runs[0].name)
    assert job.state.name == "PIPELINE_STATE_CANCELLED"
