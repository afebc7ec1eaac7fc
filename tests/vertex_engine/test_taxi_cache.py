"""The product's own pipeline, run a second time over the same trips."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local_gcp import gcs
from local_gcp.vertex.adapters.composition import build_pipeline_engine
from local_gcp.vertex.domain.states import RunState, TaskState
from local_gcp.vertex.engine.ports import ImageRule
from tests.pipeline.golden import GOLDENS, compile_text
from tests.pipeline.requests import PIPELINE_PYTHON, REPOSITORY, make_request
from tests.pipeline.trips import write_trips
from tests.vertex_engine.specs import BUCKET, engine_settings, pipeline_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local_gcp.vertex.engine.pipelines import LocalPipelineEngine
    from tests.vertex_engine.specs import Recorder


@pytest.fixture
def taxi_engine(tmp_path: Path, recorder: Recorder) -> Iterator[LocalPipelineEngine]:
    """An engine with warm executors of the pipeline image."""
    rule = ImageRule(
        image="taxi-vertex/*", interpreter=PIPELINE_PYTHON, environment={"PYTHONPATH": str(REPOSITORY)}
    )
    settings = engine_settings(tmp_path, warm=True, prestart=True, images=(rule,), adopt=gcs.adopt)
    engine = build_pipeline_engine(settings, recorder)
    yield engine
    engine.close()


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
    taxi_engine: LocalPipelineEngine, recorder: Recorder, tmp_path: Path
) -> None:
    """A second export of the same rows hits the cache in every component; without its files none does."""
    store = tmp_path / "gcs"
    root = store / BUCKET
    spec = taxi_spec(root, store)
    first, second = pipeline_run(spec, "first"), pipeline_run(spec, "second")
    taxi_engine.start(first)
    trained = recorder.wait(first, 500)
    export_again(root / "data")
    taxi_engine.start(second)
    repeated = recorder.wait(second, 300)

    assert (trained, repeated) == (RunState.SUCCEEDED, RunState.SUCCEEDED), recorder.errors
    assert set(recorder.task_states(first).values()) == {TaskState.SUCCEEDED}
    assert set(recorder.task_states(second).values()) == {TaskState.SKIPPED}


def test_forced_training_reads_no_cache() -> None:
    """Compiled for a forced run, no component may take its outputs from the cache."""
    forced, usual = (
        json.loads((GOLDENS / name).read_text())["pipelineSpec"]["root"]["dag"]["tasks"]
        for name in ("against_champion_untuned.json", "first_run.json")
    )

    assert [name for name, task in forced.items() if task.get("cachingOptions", {}).get("enableCache")] == []
    assert {name for name, task in usual.items() if task["cachingOptions"]["enableCache"]} == set(usual)
