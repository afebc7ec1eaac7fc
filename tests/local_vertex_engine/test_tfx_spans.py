"""Spans, versions, splits, the latest artifact and the exit handler, in a pipeline that TFX compiles."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local_vertex.domain.states import RunState
from tests.local_vertex_engine.pipeline_environment import run_in_pipeline_environment
from tests.local_vertex_engine.specs import BUCKET, pipeline_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from local_vertex.domain.records import TaskRecord
    from local_vertex.run.ports import PipelineEngine
    from tests.local_vertex_engine.specs import Recorder

pytestmark = pytest.mark.pipeline

SCHEMA = """\
feature {
  name: "miles"
  type: FLOAT
  presence { min_fraction: 1 min_count: 1 }
  shape { dim { size: 1 } }
}
"""
ROWS = {"train": 40, "eval": 20, "test": 30}


def write_span(root: Path, span: int, version: int) -> None:
    """Write the splits; trips of the test split are twice as long, and a span has as many more rows."""
    for split, rows in ROWS.items():
        longest = 2.0 if split == "test" else 1.0
        path = root / f"span-{span}" / f"version-{version}" / split / "trips.csv"
        path.parent.mkdir(parents=True)
        miles = [longest * (row + 1) / (rows + span) for row in range(rows + span)]
        path.write_text("miles\n" + "".join(f"{each:.6f}\n" for each in miles))


@pytest.fixture(scope="module")
def specs(tfx_folder: Path) -> dict[str, dict[str, Any]]:
    """The pipeline in both schema versions, over trips of two spans."""
    run_in_pipeline_environment("tests.local_vertex_engine.tfx_spans", tfx_folder, cwd=tfx_folder)
    bucket = tfx_folder / "gcs" / BUCKET
    (bucket / "schema.pbtxt").write_text(SCHEMA)
    for span, version in ((1, 7), (2, 1), (2, 2)):
        write_span(bucket / "spans", span, version)
    return {
        schema: json.loads((tfx_folder / f"{schema}.json").read_text())["pipelineSpec"]
        for schema in ("2.0", "2.1")
    }


@pytest.fixture(scope="module")
def ended(
    specs: dict[str, dict[str, Any]], tfx_engine: PipelineEngine, tfx_heard: Recorder, tfx_folder: Path
) -> dict[str, Mapping[str, TaskRecord]]:
    """The tasks of a run in schema 2.0, and of one in 2.1 after another span has come."""
    tasks: dict[str, Mapping[str, TaskRecord]] = {}
    for schema, spec in specs.items():
        run = pipeline_run(
            spec,
            f"spans-{schema.replace('.', '-')}",
            parameter_values={"input-base": f"gs://{BUCKET}/spans"},
        )
        tfx_engine.start(tfx_engine.accept(run))
        if tfx_heard.wait(run, 280) is not RunState.SUCCEEDED:
            pytest.fail(str(tfx_heard.errors[run.name]))
        tasks[schema] = tfx_heard.tasks[run.name]
        if schema == "2.0":
            write_span(tfx_folder / "gcs" / BUCKET / "spans", 3, 0)
    return tasks


@pytest.mark.parametrize(("schema", "span", "version"), [("2.0", 2, 2), ("2.1", 3, 0)])
def test_the_newest_span_is_taken(
    ended: dict[str, Mapping[str, TaskRecord]], schema: str, span: int, version: int
) -> None:
    """The examples are of the newest version of the newest span, and say so."""
    (examples,) = ended[schema]["CsvExampleGen"].outputs["examples"]

    assert (examples.metadata["custom:span"], examples.metadata["custom:version"]) == (span, version)
    assert json.loads(str(examples.metadata["split_names"])) == ["train", "eval", "test"]


@pytest.mark.parametrize(("schema", "span"), [("2.0", 2), ("2.1", 3)])
def test_each_split_has_its_part_in_transform(
    ended: dict[str, Mapping[str, TaskRecord]], tfx_folder: Path, schema: str, span: int
) -> None:
    """One of three splits is analyzed and two are transformed, by what was found in the first."""
    (shares,) = ended[schema]["largest_shares"].outputs["shares"]
    text = (tfx_folder / "gcs" / shares.uri.removeprefix("gs://")).read_text()

    assert json.loads(text) == {"train": [ROWS["train"] + span, 1.0], "test": [ROWS["test"] + span, 2.0]}


def test_the_latest_artifact_is_resolved(ended: dict[str, Mapping[str, TaskRecord]]) -> None:
    """The first run finds no examples, the second the last that the first one made: Transform's."""
    (made,) = ended["2.0"]["Transform"].outputs["transformed_examples"]
    found = [
        [examples.uri for examples in ended[schema]["before"].outputs["examples"]]
        for schema in ("2.0", "2.1")
    ]

    assert found == [[], [made.uri]]


@pytest.mark.usefixtures("ended")
def test_the_exit_handler_is_told_of_the_end(tfx_folder: Path) -> None:
    """TFX's own exit handler wrote the final status of the pipeline's tasks."""
    status = json.loads((tfx_folder / "gcs" / BUCKET / "status.json").read_text())

    assert (status["state"], status["pipelineTaskName"]) == ("SUCCEEDED", "tfx-dag")
    assert status["pipelineJobResourceName"].endswith("/spans-2-1")
