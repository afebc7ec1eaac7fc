"""Pipelines that TFX ships, in both schema versions, through the engine."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from local_vertex import gcs_objects
from local_vertex.domain.states import RunState, TaskState
from tests.local_vertex_engine.pipeline_environment import run_in_pipeline_environment
from tests.local_vertex_engine.specs import BUCKET, pipeline_run

if TYPE_CHECKING:
    from pathlib import Path

    from local_vertex.run.ports import PipelineEngine, PipelineRun
    from tests.local_vertex_engine.specs import Recorder

pytestmark = pytest.mark.pipeline

SCHEMAS = ("2.0", "2.1")
EXAMPLES = ("penguin", "taxi-template", "taxi-native-keras")
FEW_STEPS = {"train-args": '{"num_steps": 5}', "eval-args": '{"num_steps": 2}'}


@pytest.fixture(scope="module")
def examples_folder(tfx_folder: Path) -> Path:
    """The folder whose `gcs` holds inputs and compiled specs of all examples."""
    run_in_pipeline_environment("tests.local_vertex_engine.tfx_examples", tfx_folder / "gcs", cwd=tfx_folder)
    gcs_objects.adopt(tfx_folder / "gcs", tfx_folder / "gcs" / BUCKET)
    return tfx_folder


def example_run(folder: Path, name: str, schema: str) -> PipelineRun:
    """Return a run of a compiled example that trains for a few steps."""
    text = (folder / "gcs" / "compiled" / f"{name}-{schema}.json").read_text()
    fewer = re.sub(r'(num_steps\\": )\d+', r"\g<1>5", text)
    job: dict[str, Any] = json.loads(fewer)
    defined = job["pipelineSpec"]["root"].get("inputDefinitions", {}).get("parameters", {})
    return pipeline_run(
        job["pipelineSpec"],
        f"{name}-{schema.replace('.', '-')}",
        parameter_values={key: value for key, value in FEW_STEPS.items() if key in defined},
    )


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_accepted(
    tfx_engine: PipelineEngine, examples_folder: Path, name: str, schema: str
) -> None:
    """An example that KubeflowV2DagRunner compiled passes the door in both schemas."""
    tfx_engine.accept(example_run(examples_folder, name, schema))


@pytest.fixture(scope="module")
def runs(
    tfx_engine: PipelineEngine, tfx_heard: Recorder, examples_folder: Path
) -> dict[tuple[str, str], PipelineRun]:
    """Runs of all examples in both schemas; those of one schema are under way at once."""
    runs = {
        (name, schema): example_run(examples_folder, name, schema) for schema in SCHEMAS for name in EXAMPLES
    }
    for (name, schema), run in runs.items():
        if (name, schema) == ("penguin", "2.1"):
            tfx_heard.wait(runs["penguin", "2.0"], 500)
        tfx_engine.start(tfx_engine.accept(run))
    return runs


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(
    runs: dict[tuple[str, str], PipelineRun],
    tfx_heard: Recorder,
    tfx_folder: Path,
    name: str,
    schema: str,
) -> None:
    """Every component of an example does its work beside the others, and a model comes out of it."""
    run = runs[name, schema]
    state = tfx_heard.wait(run, 500)
    tasks = tfx_heard.tasks[run.name]
    (model,) = tasks["Trainer"].outputs["model"]

    assert state is RunState.SUCCEEDED, tfx_heard.errors[run.name]
    assert set(tfx_heard.task_states(run).values()) == {TaskState.SUCCEEDED}
    assert list((tfx_folder / "gcs" / model.uri.removeprefix("gs://")).rglob("saved_model.pb"))


def test_the_second_run_is_compared_with_the_first(
    runs: dict[tuple[str, str], PipelineRun], tfx_heard: Recorder
) -> None:
    """The resolver finds no blessed model in the first run, and the first one's model in the second."""
    first, second = (tfx_heard.tasks[runs["penguin", schema].name] for schema in SCHEMAS)

    assert first["Evaluator"].inputs["baseline_model"] == ()
    assert second["Evaluator"].inputs["baseline_model"] == first["Trainer"].outputs["model"]
