from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from local_vertex.domain.errors import Code
from local_vertex.domain.records import Failure
from local_vertex.domain.states import RunState
from tests.airflow.servers import REGION, connect_to
from tests.airflow.tasks import context, in_background, killing, run_task
from tests.waiting import wait_for
from vertex_airflow.operators.custom_job import VertexCustomJobOperator
from vertex_airflow.operators.waiting import VertexError

if TYPE_CHECKING:
    import threading

    from tests.airflow.servers import Running, Vertex
    from vertex_airflow.objects import ObjectStore


def operator(**changes: Any) -> VertexCustomJobOperator:  # noqa: ANN401  # arguments of the operator
    """Return the operator under test, with short polling intervals."""
    arguments: dict[str, Any] = {
        "task_id": "compile",
        "region": REGION,
        "display_name": "compile",
        "image": "taxi-vertex/pipeline:local",
        "command": ["python", "-m", "taxi_ml.pipeline.compile"],
        "labels": {"app": "taxi-vertex"},
        "shortest_poll": 0.05,
        "longest_poll": 0.2,
        "settle": 0.0,
        "list_lag": 0.0,
        **changes,
    }
    return VertexCustomJobOperator(**arguments)


def end_soon(
    vertex: Vertex, state: RunState, error: Failure | None = None, runs: int = 1
) -> threading.Thread:
    """End the newest job once there are that many."""

    def work() -> None:
        wait_for(lambda: len(vertex.jobs.runs) == runs)
        vertex.jobs.report(vertex.jobs.runs[-1].name, state, error)

    return in_background(work)


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_job_runs_to_its_end(vertex: Vertex, deferrable: bool) -> None:  # noqa: FBT001  # a parameter
    """Deferred or not, a succeeded job is a succeeded task, whose XCom is the job's name."""
    ending = end_soon(vertex, RunState.SUCCEEDED)

    returned = run_task(operator(deferrable=deferrable), context())
    ending.join()

    assert {"job": vertex.jobs.runs[0].name} == returned


def test_the_link_is_there_before_the_task_waits(vertex: Vertex) -> None:
    """The link to the job is stored before the task defers."""
    ctx = context()

    with pytest.raises(TaskDeferred):
        operator().execute(ctx)

    assert ctx["ti"].xcom["vertex_link"].startswith("https://console.cloud.google.com/vertex-ai/")
    assert vertex.jobs.runs[0].name.rpartition("/")[2] in ctx["ti"].xcom["vertex_link"]


def test_the_link_opens_the_connections_console(vertex: Vertex, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection may name the console that its links open."""
    connect_to(vertex.grpc_port, monkeypatch, vertex_console="http://127.0.0.1:1/ui")
    ctx = context()

    with pytest.raises(TaskDeferred):
        operator().execute(ctx)

    assert f"http://127.0.0.1:1/ui/{vertex.jobs.runs[0].name}" == ctx["ti"].xcom["vertex_link"]


def test_another_try_attaches(vertex: Vertex) -> None:
    """A worker that dies while the job runs leaves it to the next try."""
    with pytest.raises(TaskDeferred):
        operator().execute(context())

    with pytest.raises(TaskDeferred):
        operator().execute(context())

    assert len(vertex.jobs.runs) == 1


def test_clearing_a_succeeded_task_does_not_submit(vertex: Vertex) -> None:
    """A succeeded job stands for its DAG run."""
    end_soon(vertex, RunState.SUCCEEDED).join(0)
    first = run_task(operator(), context())

    again = run_task(operator(), context())

    assert (first, 1) == (again, len(vertex.jobs.runs))


def test_resubmitting_has_to_be_asked_for(vertex: Vertex) -> None:
    """With resubmit a succeeded job is followed by another."""
    end_soon(vertex, RunState.SUCCEEDED)
    run_task(operator(), context())
    end_soon(vertex, RunState.SUCCEEDED, runs=2)

    run_task(operator(resubmit="True"), context())

    assert len(vertex.jobs.runs) == 2


def test_a_retry_of_a_failed_job_submits_another_attempt(vertex: Vertex) -> None:
    """A failed job is replaced on purpose, and the attempts can be told apart by their label."""
    end_soon(vertex, RunState.FAILED, Failure(code=Code.INTERNAL, message="boom"))
    with pytest.raises(VertexError):
        run_task(operator(), context())
    end_soon(vertex, RunState.SUCCEEDED, runs=2)

    run_task(operator(), context())
    jobs = vertex.hook.jobs.list_custom_jobs(parent=vertex.hook.location)

    assert {"0", "1"} == {job.labels["attempt"] for job in jobs}


def test_a_job_that_failed_twice_is_not_retried(vertex: Vertex) -> None:
    """Airflow's retries submit one more attempt; the second failure is final."""
    boom = Failure(code=Code.INTERNAL, message="boom")
    end_soon(vertex, RunState.FAILED, boom)
    with pytest.raises(VertexError):
        run_task(operator(), context())
    end_soon(vertex, RunState.FAILED, boom, runs=2)

    with pytest.raises(AirflowFailException, match="boom"):
        run_task(operator(), context())


def test_other_runs_have_their_own_job(vertex: Vertex) -> None:
    """Attaching never crosses DAG runs."""
    for run_id in ("manual__1", "manual__2"):
        with pytest.raises(TaskDeferred):
            operator().execute(context(run_id))

    assert len(vertex.jobs.runs) == 2


def test_a_failure_explains_itself(vertex: Vertex) -> None:
    """The task's error names the state, the cause and the job's page."""
    message = "Traceback\nValueError: no bucket called gs://b"
    end_soon(vertex, RunState.FAILED, Failure(code=Code.INTERNAL, message=message))

    with pytest.raises(VertexError, match=r"cause: ValueError: no bucket called gs://b") as raised:
        run_task(operator(), context())

    assert "job: https://console.cloud.google.com/" in str(raised.value)


def test_a_job_cancelled_by_a_person_stays_cancelled(vertex: Vertex) -> None:
    """Airflow's retries do not undo a cancellation."""
    end_soon(vertex, RunState.CANCELLED)

    with pytest.raises(AirflowFailException, match="was cancelled"):
        run_task(operator(), context())


def test_what_the_service_refuses_is_not_retried(vertex: Vertex) -> None:
    """INVALID_ARGUMENT fails without a retry, with the service's message."""
    with pytest.raises(AirflowFailException, match="image table"):
        run_task(operator(image="unknown"), context())

    assert vertex.jobs.runs == []


def test_a_kill_cancels_the_job_of_a_waiting_worker(vertex: Vertex) -> None:
    """on_kill() ends the job and the wait, in a task that does not defer."""
    task = operator(deferrable=False)

    with killing(task, lambda: bool(vertex.jobs.runs)), pytest.raises(VertexError, match="killed"):
        task.execute(context())
    job = next(iter(vertex.hook.jobs.list_custom_jobs(parent=vertex.hook.location)))

    assert job.state.name == "JOB_STATE_CANCELLED"


def test_a_try_after_a_kill_submits_again(vertex: Vertex) -> None:
    """Clearing a killed task makes a new attempt, and does not fail on the cancelled one."""
    with pytest.raises(TaskDeferred) as deferred:
        operator().execute(context())
    vertex.hook.cancel_and_wait(deferred.value.trigger.kind, vertex.jobs.runs[0].name, bound=5)
    end_soon(vertex, RunState.SUCCEEDED, runs=2)

    returned = run_task(operator(), context())

    assert {"job": vertex.jobs.runs[1].name} == returned


def test_a_kill_that_takes_effect_after_the_next_try_has_attached(vertex: Vertex) -> None:
    """A try whose job is cancelled by the kill of the try before submits another, and does not fail."""
    with pytest.raises(TaskDeferred):
        operator().execute(context())
    cancelling = end_soon(vertex, RunState.CANCELLED)
    cancelling.join()
    end_soon(vertex, RunState.SUCCEEDED, runs=2)

    returned = operator(deferrable=False).execute_complete(
        context(),
        event={"ending": "final", "state": "CANCELLED", "detail": ""},
        name=vertex.jobs.runs[0].name,
        origin="attached to",
    )

    assert {"job": vertex.jobs.runs[1].name} == returned


def test_an_overdue_job_is_cancelled(vertex: Vertex) -> None:
    """The deadline cancels the job, and the error says so."""
    with pytest.raises(AirflowFailException, match="had not ended 1 s after its submission; it is cancelled"):
        run_task(operator(timeout_seconds="1"), context())

    job = vertex.hook.jobs.get_custom_job(name=vertex.jobs.runs[0].name)
    assert job.state.name == "JOB_STATE_CANCELLED"


def test_a_restart_of_the_service_is_waited_out(vertex: Vertex, running: Running) -> None:
    """The task outlives a service that goes away and comes back while it waits."""
    with pytest.raises(TaskDeferred):
        operator().execute(context())
    job = vertex.jobs.runs[0].name
    running.stop()

    def come_back() -> None:
        again = running.start()
        wait_for(lambda: bool(again.jobs.runs))
        again.jobs.report(job, RunState.SUCCEEDED)

    starting = in_background(come_back)
    returned = run_task(operator(), context())
    starting.join()

    assert {"job": job} == returned


@pytest.mark.stack
def test_what_is_there_already_needs_no_job(vertex: Vertex, bucket: str, store: ObjectStore) -> None:
    """If the object that the job would write exists, the task succeeds and submits nothing."""
    uri = f"{bucket}/pipeline.json"
    store.write(uri, b"{}")
    returned = run_task(operator(produces=uri), context())

    assert (returned, vertex.jobs.runs) == ({"job": ""}, [])


@pytest.mark.stack
def test_what_is_not_there_yet_is_made(vertex: Vertex, bucket: str) -> None:
    """Without the object the job runs as usual."""
    with pytest.raises(TaskDeferred):
        operator(produces=f"{bucket}/missing.json").execute(context())

    assert len(vertex.jobs.runs) == 1
