from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local_gcp import gcs
from local_gcp.vertex.adapters.composition import build_pipeline_engine
from local_gcp.vertex.domain.states import RunState, TaskState
from local_gcp.vertex.engine.ports import ImageRule
from tests.vertex_engine.specs import BUCKET, Recorder, engine_settings, pipeline_run
from tests.vertex_engine.test_cancel import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_gcp.vertex.engine.pipelines import LocalPipelineEngine

pytestmark = pytest.mark.pipeline

REPOSITORY = Path(__file__).parents[2]
INTERPRETER = REPOSITORY / ".pipeline/bin/python"
ROWS = 300


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The small TFX pipeline in both schema versions, compiled by KubeflowV2DagRunner."""
    folder = tmp_path_factory.mktemp("compiled")
    subprocess.run(
        [INTERPRETER, "-m", "tests.vertex_engine.tfx_definition", folder],
        check=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        cwd=folder,
    )
    return {path.stem: json.loads(path.read_text())["pipelineSpec"] for path in folder.glob("*.json")}


@pytest.fixture(scope="module")
def tfx_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an object store that holds a few trips."""
    folder = tmp_path_factory.mktemp("tfx")
    engine_settings(folder)
    csv = folder / "gcs" / BUCKET / "trips" / "trips.csv"
    csv.parent.mkdir()
    lines = ["hour,miles,fare", *(f"{row % 24},{row / 10},{3 + row / 4}" for row in range(ROWS))]
    csv.write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def heard() -> Recorder:
    """What the engine reports."""
    return Recorder()


@pytest.fixture(scope="module")
def tfx_engine(tfx_folder: Path, heard: Recorder) -> Iterator[LocalPipelineEngine]:
    """An engine with warm executors of the pipeline environment."""
    rule = ImageRule(
        image="taxi-vertex/*", interpreter=INTERPRETER, environment={"PYTHONPATH": str(REPOSITORY)}
    )
    settings = engine_settings(tfx_folder, warm=True, prestart=True, images=(rule,), adopt=gcs.adopt)
    engine = build_pipeline_engine(settings, heard)
    yield engine
    engine.close()


@pytest.mark.parametrize("schema", ["2.1", "2.0"])
def test_a_tfx_pipeline_runs_with_its_real_executors(
    compiled: dict[str, dict[str, Any]],
    tfx_engine: LocalPipelineEngine,
    heard: Recorder,
    tfx_folder: Path,
    schema: str,
) -> None:
    """Driver, executors, importer, own components, dynamic properties and conditions work in both schemas."""
    run = pipeline_run(
        compiled[schema],
        f"tfx-{schema.replace('.', '-')}",
        parameter_values={"input-base": f"gs://{BUCKET}/trips"},
    )
    tfx_engine.start(run)
    state = heard.wait(run, 300)
    tasks = heard.tasks[run.name]
    (said,) = tasks["say"].outputs["said"]
    (examples,) = tasks["CsvExampleGen"].outputs["examples"]
    rows = tasks["count_rows"].output_parameters["rows"]
    written = [path for path in (tfx_folder / "gcs" / BUCKET / "root").rglob("*") if path.is_file()]

    assert state is RunState.SUCCEEDED, heard.errors[run.name]
    assert {name for name, task in tasks.items() if task.state is not TaskState.SUCCEEDED} == {"unwanted"}
    assert tasks["unwanted"].state is TaskState.NOT_TRIGGERED
    assert ROWS / 2 < rows < ROWS
    assert (tfx_folder / "gcs" / said.uri.removeprefix("gs://")).read_text() == f"rows: {rows}"
    assert examples.metadata["split_names"] == '["train", "eval"]'
    assert "input_fingerprint" in tasks["CsvExampleGen"].parameters
    assert [path for path in written if gcs.ATTRIBUTE not in os.listxattr(path)] == []


def children_of(folder: Path) -> list[int]:
    """Return the processes that work below `folder`."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdecimal() and (process / "cwd").readlink().is_relative_to(
                folder / "state/runs"
            ):
                found.append(int(process.name))
    return found


def test_a_running_tfx_task_is_cancelled(
    compiled: dict[str, dict[str, Any]], tfx_engine: LocalPipelineEngine, heard: Recorder, tfx_folder: Path
) -> None:
    """Cancelling while Beam works ends all of the task's processes; the next run is not affected."""
    run = pipeline_run(
        compiled["2.1"], "tfx-cancelled", parameter_values={"input-base": f"gs://{BUCKET}/trips"}
    )
    tfx_engine.start(run)
    heard.until(lambda: heard.tasks.get(run.name, {}).get("CsvExampleGen"), 200)
    until(lambda: bool(children_of(tfx_folder)), 200)
    tfx_engine.cancel(run.name)
    state = heard.wait(run, 60)

    assert state is RunState.CANCELLED
    assert heard.tasks[run.name]["CsvExampleGen"].state is TaskState.CANCELLED
    assert children_of(tfx_folder) == []


def test_a_failing_tfx_component_names_the_root_cause(
    compiled: dict[str, dict[str, Any]], tfx_engine: LocalPipelineEngine, heard: Recorder
) -> None:
    """When the CSV folder does not exist the error names the component and the reason."""
    run = pipeline_run(
        compiled["2.1"],
        "tfx-fails",
        parameter_values={"input-base": f"gs://{BUCKET}/nowhere"},
        fail_fast=True,
    )
    tfx_engine.start(run)
    state = heard.wait(run, 300)
    error = heard.errors[run.name]

    assert state is RunState.FAILED
    assert error is not None
    assert (
        "The failed tasks are: [CsvExampleGen]. task 'CsvExampleGen' failed: exit code 1: " in error.message
    )
    assert "nowhere" in error.message
