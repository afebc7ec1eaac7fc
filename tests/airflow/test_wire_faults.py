"""The operators' promises when the wire fails, through Google's clients against the local Vertex AI."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from local_vertex.domain.past import NO_LAGS, Lags
from local_vertex.domain.states import RunState
from tests.airflow.promotion import count_versions
from tests.airflow.servers import REGION
from tests.airflow.tasks import context, first_event, in_background, killing, run_task
from tests.waiting import wait_for
from vertex_airflow.baseline import Baseline
from vertex_airflow.endpoints import find_endpoint
from vertex_airflow.hooks import async_vertex
from vertex_airflow.hooks import vertex as vertex_hook
from vertex_airflow.operators import custom_job
from vertex_airflow.operators.custom_job import VertexCustomJobOperator
from vertex_airflow.operators.deploy import DeployModelOperator
from vertex_airflow.operators.pipeline_job import VertexPipelineJobOperator
from vertex_airflow.operators.register import RegisterModelVersionOperator
from vertex_airflow.operators.waiting import VertexError
from vertex_airflow.polling import Ending, WaitResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import BaseOperator

    from tests.airflow.servers import Vertex
    from tests.local_stack import LocalStack

NAME = "chicago-taxi-fare"
SPEC_URI = "gs://taxi-local/specs/faults.json"
BASELINE_URI = "gs://taxi-local/runs/faults/baseline.json"
DOCUMENT = {
    "pipelineSpec": {"pipelineInfo": {"name": "taxi"}, "schemaVersion": "2.1.0", "root": {"dag": {}}},
    "runtimeConfig": {"gcsOutputDirectory": "gs://taxi-local/root"},
}
FAST: dict[str, Any] = {"region": REGION, "shortest_poll": 0.05, "longest_poll": 0.2, "settle": 0.0}
# Every fault of a call that acted, or did not, and that a client cannot tell from each other.
AMBIGUOUS = [
    "lose-reply",
    "garbage",
    "fail=UNAVAILABLE",
    "fail=RESOURCE_EXHAUSTED",
    "fail=INTERNAL",
    "fail=UNKNOWN:Stream removed",
]
# What a project answers whose service agents are new.
UNREADY = [
    "fail=FAILED_PRECONDITION:Service agents are being provisioned. Please try again in a few minutes.",
    "fail=PERMISSION_DENIED:service-1@gcp-sa-aiplatform.iam.gserviceaccount.com may not pull the image",
]


@pytest.fixture(autouse=True)
def written(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a compiled pipeline on Cloud Storage, and the record of a run before which nothing served."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", stack.environment["STORAGE_EMULATOR_HOST"])
    bucket = stack.storage_client().bucket("taxi-local")
    bucket.blob("specs/faults.json").upload_from_string(json.dumps(DOCUMENT))
    bucket.blob("runs/faults/baseline.json").upload_from_string(Baseline.of(None, None).to_json())


def compile_task(**changes: Any) -> VertexCustomJobOperator:  # noqa: ANN401  # arguments of the operator
    """Return a task that runs a custom job."""
    arguments = {"display_name": "compile", "image": "i", "list_lag": 0.0, **FAST, **changes}
    return VertexCustomJobOperator(task_id="compile", **arguments)


def pipeline_task(**changes: Any) -> VertexPipelineJobOperator:  # noqa: ANN401  # arguments of the operator
    """Return a task that runs a pipeline."""
    return VertexPipelineJobOperator(task_id="run_pipeline", spec_uri=SPEC_URI, **FAST, **changes)


def register_task(uri: str = "gs://bucket/1", **changes: Any) -> RegisterModelVersionOperator:  # noqa: ANN401
    """Return a task that uploads a version."""
    arguments = {"artifact_uri": uri, "image": "i", "patience": 5.0, "list_lag": 0.0, **FAST, **changes}
    return RegisterModelVersionOperator(task_id="register", model_name=NAME, **arguments)


def deploy_task(model: str, **changes: Any) -> DeployModelOperator:  # noqa: ANN401  # arguments of the operator
    """Return a task that deploys a version."""
    arguments = {
        "baseline_uri": BASELINE_URI,
        "machine_type": "n1",
        "patience": 5.0,
        "list_lag": 0.0,
        **FAST,
        **changes,
    }
    return DeployModelOperator(task_id="deploy", endpoint_name=NAME, model=model, **arguments)


def deploy_a_version(**changes: Any) -> None:  # noqa: ANN401  # arguments of the operators
    """Register a version and deploy it."""
    model = str(run_task(register_task(**changes), context())["model"])
    run_task(deploy_task(model, **changes), context())


def submit(task: BaseOperator) -> None:
    """Run a task until it waits."""
    with pytest.raises(TaskDeferred):
        task.execute(context())


def pipelines(vertex: Vertex) -> int:
    """Count the pipelines there are."""
    return len(vertex.engine.runs)


def custom_jobs(vertex: Vertex) -> int:
    """Count the custom jobs there are."""
    return len(vertex.jobs.runs)


def endpoints(vertex: Vertex) -> int:
    """Count the endpoints there are."""
    return len(list(vertex.hook.endpoints.list_endpoints(parent=vertex.hook.location)))


def deployments(vertex: Vertex) -> int:
    """Count the deployed models, and the servers behind them."""
    endpoint = find_endpoint(vertex.hook, NAME)
    return max(len(endpoint.deployed) if endpoint else 0, len(vertex.servers.models))


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """A call that makes something, the task that sends it, and how much of it there is afterwards."""

    method: str
    run: Callable[..., None]
    count: Callable[[Vertex], int]


CREATIONS = [
    Creation(method="CreatePipelineJob", run=lambda: submit(pipeline_task()), count=pipelines),
    Creation(method="CreateCustomJob", run=lambda **lag: submit(compile_task(**lag)), count=custom_jobs),
    Creation(method="UploadModel", run=deploy_a_version, count=count_versions),
    Creation(method="CreateEndpoint", run=deploy_a_version, count=endpoints),
    Creation(method="DeployModel", run=deploy_a_version, count=deployments),
]


@pytest.mark.stack
@pytest.mark.parametrize("fault", AMBIGUOUS + UNREADY)
@pytest.mark.parametrize("creation", CREATIONS, ids=lambda creation: creation.method)
def test_what_is_created_exists_once(vertex: Vertex, creation: Creation, fault: str) -> None:
    """Whatever becomes of the reply to a create call, there is one job, version, endpoint or deployment."""
    vertex.order(creation.method, fault, calls=2)

    creation.run()

    assert creation.count(vertex) == 1


@pytest.mark.stack
@pytest.mark.parametrize("lags", [Lags(lists=0.5)], ids=["lagging"])
@pytest.mark.parametrize("creation", CREATIONS[1:], ids=lambda creation: creation.method)
def test_what_no_list_shows_yet_is_not_created_twice(vertex: Vertex, creation: Creation) -> None:
    """A list that lags behind does not show what a call without an answer has made."""
    vertex.order(creation.method, "lose-reply")

    creation.run(list_lag=10.0)

    wait_for(lambda: creation.count(vertex) == 1)


@pytest.mark.stack
def test_a_create_call_without_an_answer_is_looked_for(
    vertex: Vertex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A create call that hangs is given up after its time-out, and the next look decides."""
    monkeypatch.setattr(custom_job, "CALL_TIMEOUT", 0.3)
    vertex.order("CreateCustomJob", "hang=5")

    submit(compile_task())

    assert custom_jobs(vertex) == 1


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_polls_that_fail_are_waited_out(
    vertex: Vertex,
    fault: str,
    deferrable: bool,  # noqa: FBT001  # a parameter
) -> None:
    """Five failed polls in a row, deferred or not, change nothing about the result."""
    vertex.order("GetCustomJob", fault, calls=5)

    def end() -> None:
        wait_for(lambda: bool(vertex.jobs.runs) and not vertex.orders())
        vertex.jobs.report(vertex.jobs.runs[0].name, RunState.SUCCEEDED)

    ending = in_background(end)
    returned = run_task(compile_task(deferrable=deferrable), context())
    ending.join()

    assert returned == {"job": vertex.jobs.runs[0].name}


def test_a_poll_that_hangs_is_given_up(vertex: Vertex, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trigger whose poll is never answered polls again after the call's time-out."""
    monkeypatch.setattr(async_vertex, "CALL_TIMEOUT", 0.3)
    vertex.order("GetCustomJob", "hang=5")
    with pytest.raises(TaskDeferred) as deferred:
        compile_task().execute(context())
    vertex.jobs.report(vertex.jobs.runs[0].name, RunState.SUCCEEDED)

    event = asyncio.run(first_event(deferred.value.trigger))

    assert event["state"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("code", "ending"), [("PERMISSION_DENIED", Ending.DENIED), ("NOT_FOUND", Ending.MISSING)]
)
def test_polls_that_cannot_succeed_end_the_wait(vertex: Vertex, code: str, ending: Ending) -> None:
    """A job that may not be read, or was deleted, is not polled again."""
    vertex.order("GetCustomJob", f"fail={code}")
    with pytest.raises(TaskDeferred) as deferred:
        compile_task().execute(context())

    event = asyncio.run(first_event(deferred.value.trigger))

    assert WaitResult.from_event(event).ending == ending


def test_an_event_about_a_fault_is_small(vertex: Vertex) -> None:
    """The event after an outage, which carries an error's text, is under 1 KB."""
    vertex.order("GetCustomJob", "fail=UNAVAILABLE", calls=100)
    with pytest.raises(TaskDeferred) as deferred:
        compile_task(outage=0.3).execute(context())

    event = asyncio.run(first_event(deferred.value.trigger))

    assert (event["ending"], len(json.dumps(event)) < 1024) == ("outage", True)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("FAILED", "failed"),
        ("CANCELLED", "was cancelled"),
        ("PAUSED", "is paused, which is not a success"),
        ("EXPIRED", "expired before it finished"),
        ("PARTIALLY_SUCCEEDED", "succeeded only in part, which is not a success"),
        ("UNSPECIFIED", "is in a state that this version does not know"),
    ],
)
@pytest.mark.parametrize("deferrable", [True, False])
def test_only_succeeded_succeeds(
    vertex: Vertex,
    state: str,
    words: str,
    deferrable: bool,  # noqa: FBT001  # a parameter
) -> None:
    """Every other final state fails the task with a message of its own."""

    def end() -> None:
        wait_for(lambda: bool(vertex.jobs.runs))
        odd: Any = state  # the local Vertex AI never gets into most of these by itself
        vertex.jobs.report(vertex.jobs.runs[0].name, odd)

    ending = in_background(end)
    with pytest.raises((VertexError, AirflowFailException), match=words):
        run_task(compile_task(deferrable=deferrable), context())
    ending.join()


def test_a_job_that_is_deleted_while_it_is_waited_for_says_so(vertex: Vertex) -> None:
    """Deletion is an ending of its own."""
    with pytest.raises(TaskDeferred) as deferred:
        compile_task().execute(context())
    name = vertex.jobs.runs[0].name
    vertex.jobs.report(name, RunState.SUCCEEDED)
    vertex.hook.jobs.delete_custom_job(name=name)
    event = asyncio.run(first_event(deferred.value.trigger))

    with pytest.raises(AirflowFailException, match="it was deleted"):
        compile_task().execute_complete(context(), event=event, **(deferred.value.kwargs or {}))


@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_the_last_question_is_repeated_as_well(vertex: Vertex, fault: str) -> None:
    """A fault between the event and the task's result costs no try."""
    with pytest.raises(TaskDeferred) as deferred:
        compile_task().execute(context())
    job = vertex.jobs.runs[0].name
    vertex.jobs.report(job, RunState.SUCCEEDED)
    event = asyncio.run(first_event(deferred.value.trigger))
    vertex.order("GetCustomJob", fault, calls=2)

    returned = compile_task().execute_complete(context(), event=event, **(deferred.value.kwargs or {}))

    assert returned == {"job": job}


@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_a_deferred_task_is_cancelled_whatever_the_wire_does(vertex: Vertex, fault: str) -> None:
    """on_kill() of the trigger repeats a cancellation that failed, and knows one that was lost."""
    with pytest.raises(TaskDeferred) as deferred:
        compile_task().execute(context())
    vertex.order("CancelCustomJob", fault)

    asyncio.run(deferred.value.trigger.on_kill())

    assert state_of(vertex) == "JOB_STATE_CANCELLED"


@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_a_waiting_task_is_cancelled_whatever_the_wire_does(vertex: Vertex, fault: str) -> None:
    """on_kill() of the operator repeats a cancellation that failed, and knows one that was lost."""
    vertex.order("CancelCustomJob", fault)
    task = compile_task(deferrable=False)

    with killing(task, lambda: bool(vertex.jobs.runs)), pytest.raises(VertexError, match="killed"):
        task.execute(context())

    assert state_of(vertex) == "JOB_STATE_CANCELLED"


def test_a_kill_during_the_create_call_leaves_no_job(vertex: Vertex, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job whose create call acts while the task is being killed is cancelled once it is known."""
    monkeypatch.setattr(vertex_hook, "CALL_TIMEOUT", 5.0)
    vertex.order("CreateCustomJob", "delay=1")
    task = compile_task()

    with killing(task, lambda: not vertex.orders()), pytest.raises(VertexError, match="killed"):
        task.execute(context())

    assert state_of(vertex) == "JOB_STATE_CANCELLED"


def test_a_worker_that_was_stopped_leaves_the_next_try_to_its_own_job(vertex: Vertex) -> None:
    """A kill is not final: the retry of a stopped worker submits another attempt."""
    task = compile_task(deferrable=False)
    with killing(task, lambda: bool(vertex.jobs.runs)), pytest.raises(VertexError, match="killed"):
        task.execute(context())

    submit(compile_task())

    assert custom_jobs(vertex) == 2


def test_a_kill_during_a_deployment_leaves_no_half_of_it(vertex: Vertex) -> None:
    """A deployment that is cancelled leaves the endpoint as it was, and no server."""
    model = str(run_task(register_task("gs://bucket/slow"), context())["model"])
    task = deploy_task(model)

    with (
        killing(task, lambda: bool(unfinished(vertex))),
        pytest.raises((VertexError, AirflowFailException)),
    ):
        run_task(task, context())

    assert (deployments(vertex), unfinished(vertex)) == (0, [])


@pytest.mark.parametrize("lags", [NO_LAGS, Lags(lists=3600.0)], ids=["current", "lagging"])
def test_a_kill_during_the_call_that_deploys_leaves_nothing(vertex: Vertex) -> None:
    """A deployment whose call acts while the task is being killed is cancelled once it is known."""
    model = str(run_task(register_task("gs://bucket/slow"), context())["model"])
    vertex.hook.endpoints.create_endpoint(
        {"parent": vertex.hook.location, "endpoint": {"display_name": NAME}, "endpoint_id": NAME}
    )
    vertex.order("DeployModel", "delay=1")
    task = deploy_task(model)

    with (
        killing(task, lambda: not vertex.orders()),
        pytest.raises((VertexError, AirflowFailException)),
    ):
        run_task(task, context())

    assert deployments(vertex) == 0


def unfinished(vertex: Vertex) -> list[str]:
    """Return the operations of the endpoint that are not over."""
    name = f"{vertex.hook.location}/endpoints/{NAME}"
    answer = vertex.hook.pipelines.list_operations({"name": name})
    return [each.name for each in answer.operations if not each.done]


def state_of(vertex: Vertex) -> str:
    """Return the state of the one custom job."""
    (job,) = vertex.hook.jobs.list_custom_jobs(parent=vertex.hook.location)
    return str(job.state.name)
