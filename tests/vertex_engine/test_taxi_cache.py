"""The product's own pipeline, run a second time over the same trips."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from local_gcp.vertex.domain.states import RunState, TaskState
from tests.pipeline.golden import GOLDENS, compile_text
from tests.pipeline.requests import make_request
from tests.pipeline.trips import write_trips
from tests.vertex_engine.specs import pipeline_run

if TYPE_CHECKING:
    from pathlib import Path

    from local_gcp.vertex.engine.pipelines import LocalPipelineEngine
    from tests.vertex_engine.specs import Recorder


def taxi_spec(root: Path, store: Path) -> dict[str, Any]:
    """Compile the product's pipeline over the trips below `root`, a bucket of `store`."""
    write_trips(root / "data")
    compile_text(make_request(root, train_steps=5, tuner_trials=0), root)
    text = (root / "pipeline.json").read_text().replace(f"{store}/", "gs://")
    spec: dict[str, Any] = json.loads(text)["pipelineSpec"]
    return spec


def export_again(root: Path) -> None:
    """Write the same trips in another order at a later time."""
    for path in root.rglob("trips_*.csv"):
        head, *rows = path.read_text().splitlines()
        path.write_text("\n".join([head, *reversed(rows)]) + "\n")


@pytest.mark.pipeline
def test_the_same_trips_are_not_trained_on_twice(
    tfx_engine: LocalPipelineEngine, tfx_heard: Recorder, tfx_folder: Path
) -> None:
    """A second export of the same rows hits the cache in every component.

    The report calls the rows by the fingerprint that the ExampleGen's driver has left on their artifact.
    """
    store = tfx_folder / "gcs"
    root = store / "fares"
    root.mkdir()
    spec = taxi_spec(root, store)
    first, second = pipeline_run(spec, "fares-first"), pipeline_run(spec, "fares-second")
    tfx_engine.start(first)
    trained = tfx_heard.wait(first, 500)
    export_again(root / "data")
    tfx_engine.start(second)
    repeated = tfx_heard.wait(second, 300)
    (examples,) = tfx_heard.tasks[first.name]["CsvExampleGen"].outputs["examples"]
    (report,) = tfx_heard.tasks[first.name]["Report"].outputs["report"]
    written = json.loads((store / report.uri.removeprefix("gs://") / "report.json").read_text())
    fingerprint = examples.metadata["input_fingerprint"]

    assert (trained, repeated) == (RunState.SUCCEEDED, RunState.SUCCEEDED), tfx_heard.errors
    assert set(tfx_heard.task_states(first).values()) == {TaskState.SUCCEEDED}
    assert set(tfx_heard.task_states(second).values()) == {TaskState.SKIPPED}
    assert fingerprint == tfx_heard.tasks[first.name]["CsvExampleGen"].parameters["input_fingerprint"]
    assert written["hashes"]["data"] == hashlib.sha256(fingerprint.encode()).hexdigest()


def test_forced_training_reads_no_cache() -> None:
    """Compiled for a forced run, no component may take its outputs from the cache."""
    forced, usual = (
        json.loads((GOLDENS / name).read_text())["pipelineSpec"]["root"]["dag"]["tasks"]
        for name in ("against_champion_untuned.json", "first_run.json")
    )

    assert [name for name, task in forced.items() if task.get("cachingOptions", {}).get("enableCache")] == []
    assert {name for name, task in usual.items() if task["cachingOptions"]["enableCache"]} == set(usual)
