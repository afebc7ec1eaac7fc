"""Many waiting jobs, which triggers of one process poll together by lists, or one by one by name."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from airflow.jobs.triggerer_job_runner import TriggerRunner

from local_vertex.composition import Options
from local_vertex.domain.past import Lags
from local_vertex.domain.states import RunState, TaskState
from tests.airflow.servers import PROJECT, REGION, Running
from tests.airflow.tasks import first_event
from tests.airflow.test_trigger import trigger
from tests.airflow.test_trigger_kill import kill, start, state_of
from tests.waiting import wait_for
from vertex_airflow import watch as watching
from vertex_airflow.hooks import async_vertex
from vertex_airflow.hooks.async_vertex import Access, shared_vertex
from vertex_airflow.hooks.vertex import VertexHook
from vertex_airflow.jobs import JobKind
from vertex_airflow.labels import with_attempt
from vertex_airflow.polling import Ending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
    from pathlib import Path

    from tests.airflow.servers import Vertex
    from vertex_airflow.triggers.vertex_job import VertexJobTrigger

LABELS = with_attempt({}, attempt=0)
FINAL = {"ending": "final", "state": "SUCCEEDED", "detail": ""}
Events = dict[str, Any]


def pipelines(hook: VertexHook, number: int) -> list[str]:
    """Start pipelines as an operator does and return the names of their jobs."""
    job: Any = {
        "display_name": "p",
        "labels": LABELS,
        "pipeline_spec": {
            "pipelineInfo": {"name": "p"},
            "root": {"dag": {"tasks": {}}},
            "schemaVersion": "2.1.0",
        },
        "runtime_config": {"gcs_output_directory": "gs://bucket/root"},
    }
    return [
        hook.pipelines.create_pipeline_job(
            parent=hook.location, pipeline_job=job, pipeline_job_id=f"p-{each}"
        ).name
        for each in range(number)
    ]


def custom_jobs(hook: VertexHook, number: int) -> list[str]:
    """Start custom jobs as an operator does and return their names."""
    spec = {"worker_pool_specs": [{"container_spec": {"image_uri": "i"}, "replica_count": 1}]}
    job: Any = {"display_name": "j", "labels": LABELS, "job_spec": spec}
    return [hook.jobs.create_custom_job(parent=hook.location, custom_job=job).name for _ in range(number)]


def end(vertex: Vertex, names: Iterable[str]) -> None:
    """Let jobs succeed."""
    for name in names:
        if "/pipelineJobs/" in name:
            vertex.engine.end(name, RunState.SUCCEEDED)
        else:
            vertex.jobs.report(name, RunState.SUCCEEDED)


def trigger_for(name: str, **changes: Any) -> VertexJobTrigger:  # noqa: ANN401  # arguments of the trigger
    """Return a trigger for a job of either kind."""
    kind = JobKind.PIPELINE if "/pipelineJobs/" in name else JobKind.CUSTOM
    return trigger(name, kind=kind.value, **changes)


@asynccontextmanager
async def waiting(names: Sequence[str], **changes: Any) -> AsyncIterator[Events]:  # noqa: ANN401
    """Wait for jobs; yield their events by name, which are complete when the block has ended."""
    events: Events = {}

    async def one(name: str) -> None:
        events[name] = await first_event(trigger_for(name, **changes))

    tasks = [asyncio.create_task(one(name)) for name in names]
    yield events
    await asyncio.gather(*tasks)


def lists(running: Running) -> int:
    """Count the requests for pages of lists that were answered."""
    return sum(running.recorder.count(rpc) for rpc in ("ListPipelineJobs", "ListCustomJobs"))


def questions(running: Running) -> int:
    """Count the polls by name."""
    return sum(running.recorder.count(rpc) for rpc in ("GetPipelineJob", "GetCustomJob"))


async def look_at_least(running: Running, number: int) -> None:
    """Return once that many more pages of lists were requested."""
    before = lists(running)
    await asyncio.to_thread(wait_for, lambda: lists(running) >= before + number)


@pytest.fixture
def no_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no trigger poll by name while lists are thought to show its job."""
    monkeypatch.setattr(watching, "_ASKS_OF_LISTED", 1e-6)


@pytest.mark.usefixtures("no_turns")
def test_many_jobs_are_watched_by_pages_of_lists(
    vertex: Vertex, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often their triggers poll, each job is requested by name only once it has ended."""
    monkeypatch.setattr(async_vertex, "_PAGE_SIZE", 30)
    names = pipelines(vertex.hook, 80) + custom_jobs(vertex.hook, 70)

    async def scenario() -> Events:
        async with waiting(names) as events:
            await look_at_least(running, 3 + 3 + 6)
            assert events == {}
            end(vertex, names)
        return events

    events = asyncio.run(scenario())

    assert events == dict.fromkeys(names, FINAL)
    # The first of each kind polls before it knows that others wait.
    assert questions(running) <= len(names) + 2


def test_whoever_waits_alone_asks_by_name(vertex: Vertex, running: Running) -> None:
    """A list would be one request more."""
    (name,) = pipelines(vertex.hook, 1)

    async def scenario() -> Events:
        async with waiting([name]) as events:
            await asyncio.to_thread(wait_for, lambda: questions(running) > 5)
            end(vertex, [name])
        return events

    assert (asyncio.run(scenario()), lists(running)) == ({name: FINAL}, 0)


def test_progress_of_listed_jobs_is_told(vertex: Vertex, capsys: pytest.CaptureFixture[str]) -> None:
    """Lists do not show components, so jobs are also polled by name, in turn."""
    names = pipelines(vertex.hook, 4)

    async def scenario() -> None:
        async with waiting(names):
            for name in names:
                vertex.engine.finish_task(name, f"Trainer-{name[-1]}", TaskState.SUCCEEDED)
            told = ""

            def everybody_has_told() -> bool:
                nonlocal told
                told += capsys.readouterr().out
                return all(f"Trainer-{name[-1]}  SUCCEEDED" in told for name in names)

            await asyncio.to_thread(wait_for, everybody_has_told)
            end(vertex, names)

    asyncio.run(scenario())


@pytest.mark.parametrize("lags", [Lags(lists=1.0)], ids=["lagging"])
def test_lists_that_lag_behind_end_nothing_too_early_or_never(vertex: Vertex, running: Running) -> None:
    """A job that no list shows yet is not over, and one that lists still show is not waited for forever."""
    names = pipelines(vertex.hook, 8)

    async def scenario() -> tuple[Events, Events]:
        async with waiting(names) as events:
            await look_at_least(running, 3)
            early = dict(events)
            end(vertex, names)
        return early, events

    assert asyncio.run(scenario()) == ({}, dict.fromkeys(names, FINAL))


@pytest.mark.parametrize("lags", [Lags(lists=3600.0)], ids=["lagging"])
def test_jobs_that_no_list_ever_shows_are_asked_for_by_name(vertex: Vertex, running: Running) -> None:
    """Jobs without the operators' label are among them."""
    names = custom_jobs(vertex.hook, 8)

    async def scenario() -> tuple[Events, Events]:
        async with waiting(names) as events:
            await look_at_least(running, 2)
            early = dict(events)
            end(vertex, names)
        return early, events

    assert asyncio.run(scenario()) == ({}, dict.fromkeys(names, FINAL))


@pytest.mark.usefixtures("no_turns")
@pytest.mark.parametrize("lags", [Lags(lists=1.0)], ids=["lagging"])
def test_a_job_that_was_deleted_is_missing(vertex: Vertex, running: Running) -> None:
    """Only the trigger of that job reports it; the others keep waiting."""
    names = custom_jobs(vertex.hook, 5)

    async def scenario() -> Events:
        async with waiting(names) as events:
            await look_at_least(running, 4)
            end(vertex, names[:1])
            vertex.hook.jobs.delete_custom_job(name=names[0])
            await asyncio.to_thread(wait_for, lambda: bool(events))
            assert list(events) == names[:1]
            end(vertex, names[1:])
        return events

    events = asyncio.run(scenario())

    assert events.pop(names[0])["ending"] == Ending.MISSING
    assert events == dict.fromkeys(names[1:], FINAL)


@pytest.mark.usefixtures("no_turns")
def test_lists_that_are_refused_are_done_without(
    vertex: Vertex, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """Every later trigger then polls its job by name, and the list is not retried in a loop."""
    orders = 1000
    vertex.order("ListCustomJobs", "fail=PERMISSION_DENIED", calls=orders)
    names = custom_jobs(vertex.hook, 8)

    async def scenario() -> Events:
        async with waiting(names[:5]) as early:
            await asyncio.to_thread(wait_for, lambda: vertex.orders()[0]["calls"] < orders)
            async with waiting(names[5:]) as late:
                await asyncio.to_thread(wait_for, lambda: questions(running) > 3 * len(names))
                end(vertex, names)
        return early | late

    events = asyncio.run(scenario())

    assert events == dict.fromkeys(names, FINAL)
    assert vertex.orders()[0]["calls"] == orders - 1
    assert "Listing active jobs failed; trying again in 600 s" in caplog.text


@pytest.mark.usefixtures("no_turns")
@pytest.mark.parametrize(
    "fault", ["fail=UNAVAILABLE", "fail=RESOURCE_EXHAUSTED", "lose-reply", "garbage", "hang=0.1"]
)
def test_lists_that_fail_for_a_while_fail_no_task(vertex: Vertex, fault: str) -> None:
    """The list is requested again, and no trigger hears of the failure."""
    vertex.order("ListCustomJobs", fault, calls=2)
    names = custom_jobs(vertex.hook, 10)

    async def scenario() -> Events:
        async with waiting(names) as events:
            await asyncio.to_thread(wait_for, lambda: not vertex.orders())
            end(vertex, names)
        return events

    assert asyncio.run(scenario()) == dict.fromkeys(names, FINAL)


def test_a_list_that_hangs_holds_nobody_up(
    vertex: Vertex, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the list hangs, for longer than this test may take, jobs are polled by name in turn."""
    monkeypatch.setattr(async_vertex, "CALL_TIMEOUT", 3600.0)
    vertex.order("ListCustomJobs", "hang", calls=2)
    names = custom_jobs(vertex.hook, 4)

    async def scenario() -> Events:
        async with waiting(names) as events:
            await asyncio.to_thread(wait_for, lambda: questions(running) > 0)
            end(vertex, names)
        return events

    assert (asyncio.run(scenario()), lists(running)) == (dict.fromkeys(names, FINAL), 0)


@pytest.mark.usefixtures("no_turns")
def test_a_deadline_needs_no_turn(vertex: Vertex, running: Running) -> None:
    """A job that is overdue is polled by name, whatever lists show."""
    names = custom_jobs(vertex.hook, 5)

    async def scenario() -> Any:  # noqa: ANN401  # an event's payload
        async with waiting(names[1:]):
            await look_at_least(running, 1)
            event = await first_event(trigger_for(names[0], deadline=1.0))
            end(vertex, names)
        return event

    assert asyncio.run(scenario())["ending"] == Ending.OVERDUE


@pytest.mark.parametrize("lost", ["nothing", "the list that the others wait for"])
def test_a_kill_cancels_its_own_job_only(vertex: Vertex, running: Running, lost: str) -> None:
    """The others keep waiting, even if the killed one had begun the look for all of them."""
    names = custom_jobs(vertex.hook, 3)

    async def scenario() -> Events:
        runner = TriggerRunner()  # type: ignore[no-untyped-call]  # Airflow gives it no types
        if lost != "nothing":
            vertex.order("ListCustomJobs", "hang=1")
        killed = start(runner, trigger_for(names[0]))
        async with waiting(names[1:]) as events:
            await asyncio.to_thread(wait_for, lambda: not vertex.orders() and questions(running) > 0)
            await kill(runner)
            await asyncio.wait([killed])
            await asyncio.to_thread(wait_for, lambda: state_of(vertex, names[0]) == "JOB_STATE_CANCELLED")
            await look_at_least(running, 2)
            assert events == {}
            assert {state_of(vertex, name) for name in names[1:]} == {"JOB_STATE_RUNNING"}
            end(vertex, names[1:])
        return events

    assert asyncio.run(scenario()) == dict.fromkeys(names[1:], FINAL)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Vertex, Running]]:
    """Return another local Vertex AI, of another project and region, to which `ELSEWHERE` points."""
    running = Running(Options(state=tmp_path / "elsewhere", project="elsewhere", region="europe-west4"))
    started = running.start()
    connection = {
        "conn_type": "google_cloud_platform",
        "extra": {
            "is_anonymous": True,
            "project": "elsewhere",
            "vertex_endpoint": f"http://127.0.0.1:{started.grpc_port}",
        },
    }
    monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", json.dumps(connection))
    yield started, running
    running.stop()


def test_projects_and_regions_do_not_mix(
    vertex: Vertex, running: Running, elsewhere: tuple[Vertex, Running]
) -> None:
    """Jobs of the same ids end one by one, in one event loop."""
    other, other_running = elsewhere
    place: dict[str, Any] = {"gcp_conn_id": "elsewhere", "region": "europe-west4"}
    here, there = pipelines(vertex.hook, 4), pipelines(VertexHook(**place), 4)

    async def scenario() -> tuple[Events, Events]:
        async with waiting(there, **place) as away:
            async with waiting(here) as events:
                await look_at_least(running, 2)
                end(vertex, here)
            await look_at_least(other_running, 2)
            early = dict(away)
            end(other, there)
        assert away == dict.fromkeys(there, FINAL)
        return events, early

    assert asyncio.run(scenario()) == (dict.fromkeys(here, FINAL), {})


def test_a_place_has_one_watch_for_each_kind_of_job(vertex: Vertex) -> None:  # noqa: ARG001  # the server
    """Triggers of one connection share it, whichever project their job is in."""
    access = Access(gcp_conn_id="google_cloud_default", region=REGION)
    locations = [f"projects/{project}/locations/{REGION}" for project in (PROJECT, "other")]

    async def watches() -> list[object]:
        client = await shared_vertex(access)
        return [
            client.watch(kind, location)
            for _ in range(2)
            for kind in (JobKind.PIPELINE, JobKind.CUSTOM)
            for location in locations
        ]

    found = asyncio.run(watches())

    assert found[:4] == found[4:]
    assert len(set(found)) == 4


def test_the_last_to_leave_ends_the_look(vertex: Vertex) -> None:
    """Nothing keeps running in the event loop once no trigger waits."""
    names = custom_jobs(vertex.hook, 3)

    async def scenario() -> set[str]:
        vertex.order("ListCustomJobs", "hang=30", calls=3)
        tasks = [asyncio.create_task(first_event(trigger_for(name))) for name in names]
        await asyncio.to_thread(wait_for, lambda: len(vertex.orders()) == 1)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.sleep(0)
        return {task.get_name() for task in asyncio.all_tasks()}

    assert "list active jobs" not in asyncio.run(scenario())
