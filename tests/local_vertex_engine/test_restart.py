from __future__ import annotations

from typing import TYPE_CHECKING

from local_vertex.domain.states import RunState, TaskState
from tests.local_vertex_engine.specs import pipeline_run, pipeline_spec, python_task
from tests.local_vertex_engine.test_failures import FAIL
from tests.local_vertex_engine.test_runs import produce_and_consume

if TYPE_CHECKING:
    from local_vertex.run.pipelines import LocalPipelineEngine
    from tests.local_vertex_engine.specs import Recorder


def test_finished_tasks_are_not_run_again(engine: LocalPipelineEngine, recorder: Recorder) -> None:
    """A run that is started with records of an earlier server keeps them and continues."""
    first = pipeline_run(produce_and_consume())
    engine.start(engine.accept(first))
    recorder.wait(first)
    finished = (recorder.tasks[first.name]["produce"],)
    recorder.states.clear()
    recorder.history.clear()
    again = pipeline_run(produce_and_consume(), finished=finished)
    engine.start(engine.accept(again))
    state = recorder.wait(again)

    assert state is RunState.SUCCEEDED
    assert ("produce", TaskState.RUNNING) not in recorder.history


def test_a_task_that_failed_before_a_restart_stays_failed(
    engine: LocalPipelineEngine, recorder: Recorder
) -> None:
    """A failure is an end too: the next server does not run the task again, and the job fails for it."""
    spec = pipeline_spec({"bad": python_task(FAIL), "good": python_task("pass")})
    run = pipeline_run(spec)
    engine.start(engine.accept(run))
    recorder.wait(run)
    failed = recorder.tasks[run.name]["bad"]
    recorder.history.clear()
    recorder.states.clear()
    again = pipeline_run(spec, finished=(failed,))
    engine.start(engine.accept(again))
    state = recorder.wait(again)

    assert state is RunState.FAILED
    assert ("bad", TaskState.RUNNING) not in recorder.history
    assert recorder.task_states(again)["good"] is TaskState.SUCCEEDED
