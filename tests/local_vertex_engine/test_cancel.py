from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from local_vertex.domain.states import RunState, TaskState
from tests.local_vertex_engine.specs import pipeline_run, pipeline_spec, python_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_vertex.run.pipelines import LocalPipelineEngine
    from tests.local_vertex_engine.specs import Recorder

# Deaf to SIGTERM, with a child in the same session and one that has left it.
STUBBORN = """
import os, pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleep = [sys.executable, '-c', 'import signal, time; signal.signal(15, 1); time.sleep(100)']
inside = subprocess.Popen(sleep)
outside = subprocess.Popen(sleep, start_new_session=True)
pathlib.Path(sys.argv[1]).write_text(f'{os.getpid()} {inside.pid} {outside.pid}')
time.sleep(100)
"""


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_cancel_ends_every_child(engine: LocalPipelineEngine, recorder: Recorder, tmp_path: Path) -> None:
    """A cancelled run ends CANCELLED, and nothing that its tasks started is left, whatever they ignore."""
    pids_file = tmp_path / "pids"
    spec = pipeline_spec(
        {
            "stubborn": python_task(STUBBORN, str(pids_file)),
            "after": python_task("pass", dependentTasks=["stubborn"]),
        }
    )
    run = pipeline_run(spec)
    engine.start(engine.accept(run))
    until(lambda: pids_file.exists() and len(pids_file.read_text().split()) == 3)
    pids = [int(pid) for pid in pids_file.read_text().split()]
    engine.cancel(run.name)
    state = recorder.wait(run)

    assert state is RunState.CANCELLED
    assert recorder.states[run.name] == [RunState.RUNNING, RunState.CANCELLING, RunState.CANCELLED]
    assert set(recorder.task_states(run).values()) == {TaskState.CANCELLED}
    assert [pid for pid in pids if alive(pid)] == []


def test_cancelling_an_unknown_or_ended_run_does_nothing(
    engine: LocalPipelineEngine, recorder: Recorder
) -> None:
    """Cancel after the end keeps the final state."""
    run = pipeline_run(pipeline_spec({"t": python_task("pass")}))
    engine.start(engine.accept(run))
    recorder.wait(run)
    engine.cancel(run.name)
    engine.cancel("projects/1/locations/here/pipelineJobs/none")

    assert recorder.states[run.name][-1] is RunState.SUCCEEDED


def test_close_ends_children_and_reports_nothing(
    engine: LocalPipelineEngine, recorder: Recorder, tmp_path: Path
) -> None:
    """A server that shuts down leaves no process and leaves the run's state as it was."""
    pids_file = tmp_path / "pids"
    run = pipeline_run(pipeline_spec({"t": python_task(STUBBORN, str(pids_file))}))
    engine.start(engine.accept(run))
    until(lambda: pids_file.exists() and len(pids_file.read_text().split()) == 3)
    engine.close()

    assert [pid for pid in map(int, pids_file.read_text().split()) if alive(pid)] == []
    assert recorder.states[run.name] == [RunState.RUNNING]
