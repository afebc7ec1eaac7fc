from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local_vertex.domain.errors import Code, InvalidArgument
from local_vertex.domain.states import RunState, TaskState
from local_vertex.run.capacity import NOTE
from local_vertex.run.custom_jobs import LocalCustomJobRunner
from local_vertex.run.ports import ContainerSpec, CustomRun
from tests.local_vertex_engine.specs import (
    IMAGE,
    JobRecorder,
    engine_settings,
    pipeline_engine,
    pipeline_run,
    pipeline_spec,
    plain_containers,
    python_task,
)
from tests.local_vertex_engine.test_custom_jobs import NAME

if TYPE_CHECKING:
    from pathlib import Path

    from local_vertex.run.pipelines import LocalPipelineEngine
    from tests.local_vertex_engine.specs import Recorder

SLEEP = "import time; print('asleep', flush=True); time.sleep(100)"
SPAN = (
    "import pathlib, sys, time; log = pathlib.Path(sys.argv[1]); begin = time.monotonic();"
    "time.sleep(0.4); log.with_name(log.name + sys.argv[2]).write_text(f'{begin} {time.monotonic()}')"
)


def test_a_task_that_takes_too_long_fails(tmp_path: Path, recorder: Recorder) -> None:
    """A task past its time-out is ended, and its failure says so."""
    engine = pipeline_engine(engine_settings(tmp_path, task_timeout=0.5), recorder)
    run = pipeline_run(pipeline_spec({"slow": python_task(SLEEP)}))
    engine.start(engine.accept(run))
    state = recorder.wait(run)
    engine.close()
    error = recorder.errors[run.name]

    assert state is RunState.FAILED
    assert error is not None
    assert "task 'slow' failed: it did not end within its time limit of 0.5 s" in error.message


def test_a_job_that_takes_too_long_fails(tmp_path: Path, recorder: Recorder) -> None:
    """A job past its time-out fails with DEADLINE_EXCEEDED; its tasks are cancelled."""
    engine = pipeline_engine(engine_settings(tmp_path, job_timeout=0.5), recorder)
    spec = pipeline_spec({"slow": python_task(SLEEP), "after": python_task("pass", dependentTasks=["slow"])})
    run = pipeline_run(spec)
    engine.start(engine.accept(run))
    state = recorder.wait(run)
    engine.close()
    error = recorder.errors[run.name]

    assert state is RunState.FAILED
    assert error is not None
    assert error.code is Code.DEADLINE_EXCEEDED
    assert set(recorder.task_states(run).values()) == {TaskState.CANCELLED}


def test_a_custom_job_that_takes_too_long_fails(tmp_path: Path) -> None:
    """The time-out of its scheduling ends a custom job."""
    heard = JobRecorder()
    settings = engine_settings(tmp_path)
    runner = LocalCustomJobRunner(settings=settings, listener=heard, containers=plain_containers())
    container = ContainerSpec(image=IMAGE, command=("python", "-c"), args=(SLEEP,))
    accepted = runner.accept(
        CustomRun(
            name=NAME,
            project="local",
            project_number="1",
            location="here",
            container=container,
            timeout=0.5,
        )
    )
    runner.start(accepted)
    state = heard.wait()
    runner.close()

    assert state is RunState.FAILED
    assert heard.error is not None
    assert heard.error.code is Code.DEADLINE_EXCEEDED


def test_a_task_that_failed_in_time_is_tried_again(tmp_path: Path, recorder: Recorder) -> None:
    """A time-out counts as a failure: the task's retries apply."""
    code = (
        "import pathlib, sys, time; tried = pathlib.Path(sys.argv[1]); again = tried.exists(); tried.touch();"
        "time.sleep(0 if again else 100)"
    )
    engine = pipeline_engine(engine_settings(tmp_path, task_timeout=2.0), recorder)
    task = python_task(code, str(tmp_path / "tried"), retryPolicy={"maxRetryCount": 1})
    run = pipeline_run(pipeline_spec({"slow": task}))
    engine.start(engine.accept(run))
    state = recorder.wait(run)
    engine.close()

    assert state is RunState.SUCCEEDED


def test_a_small_run_ends_before_a_large_one_that_came_first(
    engine: LocalPipelineEngine, recorder: Recorder
) -> None:
    """A run of one task gets its core while tasks of an earlier run of many wait."""
    nap = python_task("import time; time.sleep(0.2)")
    large = pipeline_run(pipeline_spec({f"t{number}": nap for number in range(12)}), "large")
    small = pipeline_run(pipeline_spec({"only": nap}), "small")
    engine.start(engine.accept(large))
    recorder.until(lambda: recorder.states.get(large.name))
    engine.start(engine.accept(small))
    recorder.wait(small)
    unfinished = sum(state is TaskState.PENDING for state in recorder.task_states(large).values())

    assert recorder.wait(large) is RunState.SUCCEEDED
    assert unfinished >= 4


@pytest.mark.parametrize(
    ("resources", "overlap"),
    [
        ({}, True),
        ({"memoryLimit": 15.0}, True),
        ({"resourceMemoryRequest": "3G"}, False),
        ({"memoryRequest": 3.0}, False),
        ({"resourceMemoryLimit": "512Mi", "resourceMemoryRequest": "1Gi"}, True),
        ({"cpuLimit": 8.0}, True),
        ({"cpuRequest": 2.0}, False),
        ({"resourceCpuRequest": "1500m"}, False),
        ({"resourceCpuRequest": "500m"}, True),
    ],
)
def test_requests_bound_what_runs_at_once(
    tmp_path: Path,
    recorder: Recorder,
    resources: dict[str, object],
    overlap: bool,  # noqa: FBT001
) -> None:
    """Tasks that together request more than the machine has run one after the other."""
    engine = pipeline_engine(engine_settings(tmp_path, memory=4_000_000_000), recorder)
    span = tmp_path / "span"
    tasks = {
        name: python_task(SPAN, str(span), name, container={"resources": resources}) for name in ("a", "b")
    }
    run = pipeline_run(pipeline_spec(tasks))
    engine.start(engine.accept(run))
    state = recorder.wait(run)
    engine.close()
    spans = sorted([float(t) for t in (tmp_path / f"span{name}").read_text().split()] for name in ("a", "b"))

    assert state is RunState.SUCCEEDED, recorder.errors
    assert (spans[1][0] < spans[0][1]) == overlap


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [("resourceMemoryLimit", "much", "such as 4G"), ("resourceCpuLimit", "many", "such as 4 or 500m")],
)
def test_a_wrong_quantity_is_refused(
    engine: LocalPipelineEngine, field: str, text: str, expected: str
) -> None:
    """CPUs or memory that are not a quantity are refused at the door."""
    spec = pipeline_spec({"t": python_task("pass", container={"resources": {field: text}})})

    with pytest.raises(InvalidArgument, match=expected):
        engine.accept(pipeline_run(spec))


GREEDY = {
    "cpuLimit": 8.0,
    "cpuRequest": 8.0,
    "memoryLimit": 32.0,
    "memoryRequest": 32.0,
    "accelerator": {"type": "NVIDIA_TESLA_T4", "count": "2"},
}
NOTES = (
    "accelerator NVIDIA_TESLA_T4 x 2 is ignored: tasks have this machine's CPUs only",
    "a request of 8 CPUs is more than the 2 that tasks share: it runs alone",
    "a request of 32 GB of memory is more than the 4 GB that tasks share: it runs alone",
    "a limit of 8 CPUs is not enforced: tasks share 2",
    "a limit of 32 GB of memory is not enforced",
)


def test_a_task_says_what_it_does_not_get(tmp_path: Path, recorder: Recorder) -> None:
    """Resource requests that this machine cannot meet are in the task's record and at the head of its log."""
    engine = pipeline_engine(engine_settings(tmp_path, memory=4_000_000_000), recorder)
    task = python_task("print('spoken')", container={"resources": GREEDY})
    run = pipeline_run(pipeline_spec({"greedy": task}))
    engine.start(engine.accept(run))
    recorder.wait(run)
    engine.close()
    record = recorder.tasks[run.name]["greedy"]

    assert record.notes == NOTES
    assert record.log_path is not None
    assert record.log_path.read_text().splitlines() == [*(NOTE + note for note in NOTES), "spoken"]


def test_a_task_that_asks_for_nothing_has_no_notes(engine: LocalPipelineEngine, recorder: Recorder) -> None:
    """Without resource requests a log holds what the task wrote and nothing else."""
    run = pipeline_run(pipeline_spec({"modest": python_task("print('spoken')")}))
    engine.start(engine.accept(run))
    recorder.wait(run)
    record = recorder.tasks[run.name]["modest"]

    assert record.notes == ()
    assert record.log_path is not None
    assert record.log_path.read_text() == "spoken\n"


def test_notes_are_no_root_cause(engine: LocalPipelineEngine, recorder: Recorder) -> None:
    """The error of a task that fails without output does not quote the engine's own lines in its log."""
    task = python_task("raise SystemExit(3)", container={"resources": GREEDY})
    run = pipeline_run(pipeline_spec({"greedy": task}))
    engine.start(engine.accept(run))
    recorder.wait(run)
    error = recorder.errors[run.name]

    assert error is not None
    assert "exit code 3 without a message; it wrote nothing" in error.message
