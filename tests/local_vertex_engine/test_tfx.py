from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local_vertex import gcs_objects
from local_vertex.domain.states import RunState, TaskState
from tests.local_vertex_engine.specs import BUCKET, pipeline_run
from tests.local_vertex_engine.test_cancel import until

if TYPE_CHECKING:
    from local_vertex.run.ports import PipelineEngine
    from tests.local_vertex_engine.specs import Recorder

pytestmark = pytest.mark.pipeline

ROWS = 300


@pytest.fixture(scope="module")
def compiled(small_specs: Path) -> dict[str, dict[str, Any]]:
    """The small TFX pipeline in both schema versions, compiled by KubeflowV2DagRunner."""
    return {path.stem: json.loads(path.read_text())["pipelineSpec"] for path in small_specs.glob("*.json")}


@pytest.fixture(scope="module", autouse=True)
def trips(tfx_folder: Path) -> None:
    """A few trips in the object store."""
    csv = tfx_folder / "gcs" / BUCKET / "trips" / "trips.csv"
    csv.parent.mkdir()
    lines = ["hour,miles,fare", *(f"{row % 24},{row / 10},{3 + row / 4}" for row in range(ROWS))]
    csv.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("schema", ["2.1", "2.0"])
def test_a_tfx_pipeline_runs_with_its_real_executors(
    compiled: dict[str, dict[str, Any]],
    tfx_engine: PipelineEngine,
    tfx_heard: Recorder,
    tfx_folder: Path,
    schema: str,
) -> None:
    """Driver, executors, importer, own components, dynamic properties and conditions work in both schemas."""
    run = pipeline_run(
        compiled[schema],
        f"tfx-{schema.replace('.', '-')}",
        parameter_values={"input-base": f"gs://{BUCKET}/trips"},
    )
    tfx_engine.start(tfx_engine.accept(run))
    state = tfx_heard.wait(run, 300)
    tasks = tfx_heard.tasks[run.name]
    (said,) = tasks["say"].outputs["said"]
    (examples,) = tasks["CsvExampleGen"].outputs["examples"]
    rows = tasks["count_rows"].output_parameters["rows"]
    written = [path for path in (tfx_folder / "gcs" / BUCKET / "root").rglob("*") if path.is_file()]

    assert state is RunState.SUCCEEDED, tfx_heard.errors[run.name]
    assert {name for name, task in tasks.items() if task.state is not TaskState.SUCCEEDED} == {"unwanted"}
    assert tasks["unwanted"].state is TaskState.NOT_TRIGGERED
    assert ROWS / 2 < rows < ROWS
    assert (tfx_folder / "gcs" / said.uri.removeprefix("gs://")).read_text() == f"rows: {rows}"
    assert examples.metadata["split_names"] == '["train", "eval"]'
    assert "input_fingerprint" in tasks["CsvExampleGen"].parameters
    assert [path for path in written if gcs_objects.ATTRIBUTE not in os.listxattr(path)] == []


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
    compiled: dict[str, dict[str, Any]],
    tfx_engine: PipelineEngine,
    tfx_heard: Recorder,
    tfx_folder: Path,
) -> None:
    """Cancelling while Beam works ends all of the task's processes; the next run is not affected."""
    run = pipeline_run(
        compiled["2.1"], "tfx-cancelled", parameter_values={"input-base": f"gs://{BUCKET}/trips"}
    )
    tfx_engine.start(tfx_engine.accept(run))
    log = tfx_folder / "state/runs/tfx-cancelled/CsvExampleGen/log.txt"
    until(lambda: log.exists() and "Processing input csv data" in log.read_text(), 200)
    tfx_engine.cancel(run.name)
    state = tfx_heard.wait(run, 60)

    assert "Examples generated" not in log.read_text()
    assert state is RunState.CANCELLED
    assert tfx_heard.tasks[run.name]["CsvExampleGen"].state is TaskState.CANCELLED
    assert children_of(tfx_folder) == []


def test_a_failing_tfx_component_names_the_root_cause(
    compiled: dict[str, dict[str, Any]], tfx_engine: PipelineEngine, tfx_heard: Recorder
) -> None:
    """If the CSV folder does not exist, the error names the component and the reason."""
    run = pipeline_run(
        compiled["2.1"],
        "tfx-fails",
        parameter_values={"input-base": f"gs://{BUCKET}/nowhere"},
        fail_fast=True,
    )
    tfx_engine.start(tfx_engine.accept(run))
    state = tfx_heard.wait(run, 300)
    error = tfx_heard.errors[run.name]

    assert state is RunState.FAILED
    assert error is not None
    assert (
        "The failed tasks are: [CsvExampleGen]. task 'CsvExampleGen' failed: exit code 1: " in error.message
    )
    assert "nowhere" in error.message
