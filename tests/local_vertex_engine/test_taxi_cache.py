"""The product's own pipeline, run a second time over the same trips."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from local_vertex.domain.states import RunState, TaskState
from tests.local_vertex_engine.specs import pipeline_run
from tests.pipeline.golden import GOLDENS, compile_text
from tests.pipeline.requests import make_parameters, make_request
from tests.pipeline.trips import write_trips

if TYPE_CHECKING:
    from pathlib import Path

    from local_vertex.run.ports import PipelineEngine
    from tests.local_vertex_engine.specs import Recorder


REQUEST = {"tuner_trials": 0}


def taxi_spec(root: Path, store: Path) -> dict[str, Any]:
    """Compile the product's pipeline below `root`, a bucket of `store`."""
    compile_text(make_request(root, **REQUEST), root)
    text = (root / "pipeline.json").read_text().replace(f"{store}/", "gs://")
    spec: dict[str, Any] = json.loads(text)["pipelineSpec"]
    return spec


def given(root: Path, store: Path, **changes: str) -> dict[str, str]:
    """Return what a run over the trips below `root` gives the pipeline."""
    values = make_parameters(root, train_steps=5, **changes).values(make_request(root, **REQUEST))
    return {name: value.replace(f"{store}/", "gs://") for name, value in values.items()}


def export_again(root: Path) -> None:
    """Write the same trips in another order at a later time."""
    for path in root.rglob("trips_*.csv"):
        head, *rows = path.read_text().splitlines()
        path.write_text("\n".join([head, *reversed(rows)]) + "\n")


@pytest.mark.pipeline
def test_the_same_trips_are_not_trained_on_twice(
    tfx_engine: PipelineEngine, tfx_heard: Recorder, tfx_folder: Path
) -> None:
    """A second export of the same rows hits the cache in every component; another period hits nothing.

    All runs are of one compiled spec. A window over the same rows repeats only what names the window. The
    report calls the rows by the fingerprint that the ExampleGen's driver has left on their artifact.
    """
    store = tfx_folder / "gcs"
    root = store / "fares"
    root.mkdir()
    write_trips(root / "data")
    spec = taxi_spec(root, store)
    runs = {
        "first": {},
        "again": {},
        "renamed": {"window": "2015-08_train24_test1"},
        "expired": {"cache_period": "2015-08-04"},
    }
    states = {}
    for name, changes in runs.items():
        run = pipeline_run(spec, f"fares-{name}", parameter_values=given(root, store, **changes))
        tfx_engine.start(tfx_engine.accept(run))
        assert tfx_heard.wait(run, 500) is RunState.SUCCEEDED, tfx_heard.errors
        states[name] = tfx_heard.task_states(run)
        export_again(root / "data")
    (examples,) = tfx_heard.tasks[run.name]["CsvExampleGen"].outputs["examples"]
    (report,) = tfx_heard.tasks[run.name]["Report"].outputs["report"]
    written = json.loads((store / report.uri.removeprefix("gs://") / "report.json").read_text())
    fingerprint = examples.metadata["input_fingerprint"]

    assert set(states["first"].values()) == {TaskState.SUCCEEDED}
    assert set(states["again"].values()) == {TaskState.SKIPPED}
    ran = {task for task, state in states["renamed"].items() if state is TaskState.SUCCEEDED}
    assert ran == {"Report"}
    assert set(states["expired"].values()) == {TaskState.SUCCEEDED}
    assert fingerprint == tfx_heard.tasks[run.name]["CsvExampleGen"].parameters["input_fingerprint"]
    assert written["hashes"]["data"] == hashlib.sha256(fingerprint.encode()).hexdigest()


def test_forced_training_reads_no_cache() -> None:
    """Compiled for a forced run, no component may take its outputs from the cache."""
    forced, usual = (
        json.loads((GOLDENS / name).read_text())["pipelineSpec"]["root"]["dag"]["tasks"]
        for name in ("against_champion_untuned.json", "first_run.json")
    )

    assert [name for name, task in forced.items() if task.get("cachingOptions", {}).get("enableCache")] == []
    assert {name for name, task in usual.items() if task["cachingOptions"]["enableCache"]} == set(usual)
