"""Runs in which a task fails or is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local_vertex.domain.states import RunState, TaskState
from local_vertex.processes.guarded import GuardedLauncher
from local_vertex.run.containers import ContainerLostError
from tests.local_vertex_engine.specs import (
    engine_settings,
    pipeline_engine,
    pipeline_run,
    pipeline_spec,
    plain_containers,
    python_task,
)
from tests.local_vertex_engine.test_runs import DATASET, PRINT, said

if TYPE_CHECKING:
    from pathlib import Path

    from local_vertex.run.containers import Container, Launch
    from local_vertex.run.pipelines import LocalPipelineEngine
    from tests.local_vertex_engine.specs import Recorder

FAIL = "raise ValueError('no column fare')"


def test_a_failure_names_task_cause_and_log(engine: LocalPipelineEngine, recorder: Recorder) -> None:
    """The run's error says which task failed, the line at the root of it, and where the log is."""
    run = pipeline_run(pipeline_spec({"train": python_task(FAIL)}))
    engine.start(engine.accept(run))
    state = recorder.wait(run)
    error = recorder.errors[run.name]
    record = recorder.tasks[run.name]["train"]

    assert state is RunState.FAILED
    assert error is not None
    assert error.message == (
        "The DAG failed because some tasks failed. The failed tasks are: [train]. task 'train' failed: "
        f"exit code 1: ValueError: no column fare; log: {record.log_path}"
    )


@pytest.mark.parametrize(
    ("fail_fast", "other"), [(True, TaskState.NOT_TRIGGERED), (False, TaskState.SUCCEEDED)]
)
def test_the_failure_policy_is_followed(
    tmp_path: Path, recorder: Recorder, *, fail_fast: bool, other: TaskState
) -> None:
    """After a failure, fail-fast starts nothing more; fail-slow what does not depend on it."""
    slow = "import time; time.sleep(0.5)"
    spec = pipeline_spec(
        {
            "fails": python_task(FAIL),
            "after": python_task("pass", dependentTasks=["fails"]),
            "slow": python_task(slow),
            "other": python_task("pass", dependentTasks=["slow"]),
        }
    )
    engine = pipeline_engine(engine_settings(tmp_path), recorder)
    run = pipeline_run(spec, fail_fast=fail_fast)
    engine.start(engine.accept(run))
    recorder.wait(run)
    engine.close()

    assert recorder.task_states(run) == {
        "fails": TaskState.FAILED,
        "after": TaskState.NOT_TRIGGERED,
        "slow": TaskState.SUCCEEDED,
        "other": other,
    }


class LosingLauncher:
    """Loses the first container after it has written something."""

    def __init__(self) -> None:
        self.guarded = GuardedLauncher()
        self.launched = 0

    def launch(self, launch: Launch) -> Container:
        """Run the command; only its end is lost."""
        self.launched += 1
        container = self.guarded.launch(launch)
        container.wait()
        raise ContainerLostError

    def close(self) -> None:
        """Close the launcher."""
        self.guarded.close()


def test_a_lost_container_is_run_again_in_a_fresh_folder(tmp_path: Path, recorder: Recorder) -> None:
    """A task whose warm executor goes away runs again as a plain subprocess, without leftovers."""
    settings = engine_settings(tmp_path)
    losing = LosingLauncher()
    engine = pipeline_engine(settings, recorder, containers=plain_containers(launcher=losing))
    code = "import sys, os; os.mkdir(sys.argv[1])"
    component = {"outputDefinitions": {"artifacts": {"out": DATASET}}}
    task = python_task(code, "{{$.outputs.artifacts['out'].uri}}", component=component)
    run = pipeline_run(pipeline_spec({"t": task}))
    engine.start(engine.accept(run))
    state = recorder.wait(run)
    engine.close()

    assert state is RunState.SUCCEEDED, recorder.errors
    assert losing.launched == 1


def test_a_failed_task_is_tried_again(
    engine: LocalPipelineEngine, recorder: Recorder, tmp_path: Path
) -> None:
    """A retry policy runs the task again, in a fresh folder."""
    marker = tmp_path / "tried"
    code = (
        f"import pathlib, sys; tried = pathlib.Path({str(marker)!r}); again = tried.exists(); tried.touch();"
        "sys.exit(not again)"
    )
    retry = {"maxRetryCount": 1, "backoffDuration": "0s"}
    run = pipeline_run(pipeline_spec({"flaky": python_task(code, retryPolicy=retry)}))
    engine.start(engine.accept(run))

    assert recorder.wait(run) is RunState.SUCCEEDED


def test_an_exit_handler_hears_how_the_pipeline_ended(
    engine: LocalPipelineEngine, recorder: Recorder
) -> None:
    """As TFX compiles it: the tasks are nested in `tfx-dag`, and the handler gets their final status."""
    spec = pipeline_spec(
        {
            "handler": python_task(
                PRINT,
                "{{$.inputs.parameters['status']}}",
                component={"inputDefinitions": {"parameters": {"status": {"parameterType": "STRING"}}}},
                inputs={"parameters": {"status": {"taskFinalStatus": {"producerTask": "tfx-dag"}}}},
                dependentTasks=["tfx-dag"],
                triggerPolicy={"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"},
            ),
            "train": python_task(FAIL),
        }
    )
    tasks = spec["root"]["dag"]["tasks"]
    spec["components"]["tfx-dag"] = {"dag": {"tasks": {"train": tasks.pop("train")}}}
    tasks["tfx-dag"] = {"componentRef": {"name": "tfx-dag"}, "taskInfo": {"name": "tfx-dag"}}
    run = pipeline_run(spec)
    engine.start(engine.accept(run))
    state = recorder.wait(run)

    assert state is RunState.FAILED
    assert recorder.task_states(run)["handler"] is TaskState.SUCCEEDED
    assert '"state": "FAILED"' in said(recorder, run.name, "handler")


WRITE = "import sys; open(sys.argv[1], 'w').write(sys.argv[2])"
METRICS = {
    "outputDefinitions": {
        "artifacts": {"m": {"artifactType": {"schemaTitle": "system.Metrics"}}},
        "parameters": {"loss": {"parameterType": "NUMBER_DOUBLE"}, "losses": {"parameterType": "LIST"}},
    }
}


@pytest.mark.parametrize(
    ("written", "cause"),
    [
        ("NaN", "artifacts.m.artifacts[0].metadata.rmse is nan; only finite numbers can be published"),
        ("-Infinity", "metadata.rmse is -inf; only finite numbers can be published"),
        ('[1, {"x": NaN}]', "metadata.rmse[1].x is nan"),
        ("1e400", "metadata.rmse is inf"),
        ("1" + "0" * 400, "metadata.rmse is a number of 1329 bits"),
        ("[" * 60 + "]" * 60, "is nested more than 20 deep"),
        ('"\\ud800"', "is not an ExecutorOutput"),
    ],
)
def test_a_metric_that_cannot_be_published_fails_its_task(
    engine: LocalPipelineEngine, recorder: Recorder, written: str, cause: str
) -> None:
    """A metric that is not a JSON number fails the task that logged it, by name, as on Vertex AI."""
    output = f'{{"artifacts": {{"m": {{"artifacts": [{{"metadata": {{"rmse": {written}}}}}]}}}}}}'
    task = python_task(WRITE, "{{$.outputs.output_file}}", output, component=METRICS)
    run = pipeline_run(pipeline_spec({"t": task}))
    engine.start(engine.accept(run))
    recorder.wait(run)
    error = recorder.tasks[run.name]["t"].error

    assert error is not None
    assert cause in error.message


@pytest.mark.parametrize(("key", "written"), [("loss", "NaN"), ("losses", "[1, NaN]"), ("loss", "1e400")])
def test_an_output_parameter_that_cannot_be_published_fails_its_task(
    engine: LocalPipelineEngine, recorder: Recorder, key: str, written: str
) -> None:
    """A parameter that is not a JSON number fails its task in the same way."""
    file = f"{{{{$.outputs.parameters['{key}'].output_file}}}}"
    run = pipeline_run(pipeline_spec({"t": python_task(WRITE, file, written, component=METRICS)}))
    engine.start(engine.accept(run))
    recorder.wait(run)
    error = recorder.tasks[run.name]["t"].error

    assert error is not None
    assert "only finite numbers can be published" in error.message
