"""Pipelines that TFX ships, in both schema versions, through the engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local_gcp import gcs
from local_gcp.vertex.adapters.composition import build_pipeline_engine
from local_gcp.vertex.domain.states import RunState, TaskState
from local_gcp.vertex.engine.caching import VolatileHistory
from local_gcp.vertex.engine.ports import ImageRule
from tests.vertex_engine.specs import BUCKET, Recorder, engine_settings, pipeline_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_gcp.vertex.domain.records import ArtifactRecord
    from local_gcp.vertex.engine.pipelines import LocalPipelineEngine
    from local_gcp.vertex.engine.ports import PipelineRun

pytestmark = pytest.mark.pipeline

REPOSITORY = Path(__file__).parents[2]
INTERPRETER = REPOSITORY / ".pipeline/bin/python"
EXAMPLES = ("penguin", "taxi-template", "taxi-native-keras")
FEW_STEPS = {"train-args": '{"num_steps": 5}', "eval-args": '{"num_steps": 2}'}


class RecordedHistory(VolatileHistory):
    """What the runs that a recorder heard of left behind."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def artifacts(self, pipeline: str, schema_title: str) -> tuple[ArtifactRecord, ...]:
        """Return the artifacts of a type, the newest first; runs are named after their pipelines."""
        tasks = [
            task
            for run, tasks in self._recorder.tasks.items()
            if run.rpartition("/")[2].startswith(f"{pipeline}-")
            for task in tasks.values()
            if task.state is TaskState.SUCCEEDED and task.end_time
        ]
        tasks.sort(key=lambda task: task.end_time or task.create_time)
        made = {a.name: a for task in tasks for records in task.outputs.values() for a in records}
        return tuple(a for a in reversed(made.values()) if a.schema_title == schema_title)


@pytest.fixture(scope="module")
def examples_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `gcs` holds inputs and compiled specs of all examples."""
    folder = tmp_path_factory.mktemp("examples")
    engine_settings(folder)
    subprocess.run(
        [INTERPRETER, "-m", "tests.vertex_engine.tfx_examples", folder / "gcs"],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        cwd=folder,
    )
    gcs.adopt(folder / "gcs", folder / "gcs" / BUCKET)
    return folder


@pytest.fixture(scope="module")
def heard() -> Recorder:
    """What the engine reports."""
    return Recorder()


@pytest.fixture(scope="module")
def examples_engine(examples_folder: Path, heard: Recorder) -> Iterator[LocalPipelineEngine]:
    """An engine with warm executors that knows what its runs left behind."""
    rule = ImageRule(image="taxi-vertex/*", interpreter=INTERPRETER)
    settings = engine_settings(examples_folder, warm=True, prestart=True, images=(rule,), adopt=gcs.adopt)
    engine = build_pipeline_engine(settings, heard, history=RecordedHistory(heard))
    yield engine
    engine.close()


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


@pytest.mark.parametrize("schema", ["2.0", "2.1"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_accepted(
    examples_engine: LocalPipelineEngine, examples_folder: Path, name: str, schema: str
) -> None:
    """What KubeflowV2DagRunner makes of an example passes the door in both schemas."""
    examples_engine.validate(example_run(examples_folder, name, schema))


@pytest.fixture(scope="module")
def started(
    examples_engine: LocalPipelineEngine, examples_folder: Path
) -> dict[tuple[str, str], PipelineRun]:
    """One run of each example, all under way at once."""
    runs = {
        (name, schema): example_run(examples_folder, name, schema)
        for name, schema in (("penguin", "2.0"), ("taxi-template", "2.1"), ("taxi-native-keras", "2.0"))
    }
    for run in runs.values():
        examples_engine.start(run)
    return runs


@pytest.mark.parametrize(
    ("name", "schema"),
    [("penguin", "2.0"), ("penguin", "2.1"), ("taxi-template", "2.1"), ("taxi-native-keras", "2.0")],
)
def test_an_example_runs(  # noqa: PLR0913, PLR0917  # what pytest gives
    started: dict[tuple[str, str], PipelineRun],
    examples_engine: LocalPipelineEngine,
    heard: Recorder,
    examples_folder: Path,
    name: str,
    schema: str,
) -> None:
    """Every component of an example does its work beside the others, and a model comes out of it."""
    run = started.get((name, schema))
    if run is None:
        run = example_run(examples_folder, name, schema)
        examples_engine.start(run)
    state = heard.wait(run, 550)
    tasks = heard.tasks[run.name]
    (model,) = tasks["Trainer"].outputs["model"]

    assert state is RunState.SUCCEEDED, heard.errors[run.name]
    assert set(heard.task_states(run).values()) == {TaskState.SUCCEEDED}
    assert list((examples_folder / "gcs" / model.uri.removeprefix("gs://")).rglob("saved_model.pb"))


def test_the_second_run_is_compared_with_the_first(heard: Recorder) -> None:
    """The resolver finds no blessed model in the first run, and the first one's model in the second."""
    first, second = (
        heard.tasks[f"projects/1/locations/here/pipelineJobs/penguin-{schema}"] for schema in ("2-0", "2-1")
    )

    assert first["Evaluator"].inputs["baseline_model"] == ()
    assert second["Evaluator"].inputs["baseline_model"] == first["Trainer"].outputs["model"]
