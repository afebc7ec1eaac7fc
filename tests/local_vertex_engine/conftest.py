"""An engine over a temporary folder for each test, and one with the pipeline environment for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from local_vertex import gcs_objects
from local_vertex.composition import build_engines
from local_vertex.images import ImageRule
from tests.local_vertex_engine.pipeline_environment import (
    PIPELINE_PYTHON,
    REPOSITORY,
    run_in_pipeline_environment,
)
from tests.local_vertex_engine.specs import (
    JobRecorder,
    RecordedHistory,
    Recorder,
    engine_settings,
    image_table,
    pipeline_engine,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local_vertex.run.pipelines import LocalPipelineEngine
    from local_vertex.run.ports import PipelineEngine


# A machine that is busy with other tests may take long to run an example.
settings.register_profile("busy machine", deadline=None)


settings.load_profile("busy machine")


@pytest.fixture
def recorder() -> Recorder:
    """The record of the engine's reports."""
    return Recorder()


@pytest.fixture
def engine(tmp_path: Path, recorder: Recorder) -> Iterator[LocalPipelineEngine]:
    """An engine that runs plain subprocesses."""
    engine = pipeline_engine(engine_settings(tmp_path), recorder)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def tfx_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `tfx_engine`, with its object store in `gcs`."""
    folder = tmp_path_factory.mktemp("tfx")
    engine_settings(folder)
    return folder


@pytest.fixture(scope="session")
def tfx_heard() -> Recorder:
    """The record of the reports of `tfx_engine`."""
    return Recorder()


@pytest.fixture(scope="session")
def tfx_engine(tfx_folder: Path, tfx_heard: Recorder) -> Iterator[PipelineEngine]:
    """An engine with warm executors of the pipeline environment; runs are named after their pipelines."""
    rule = ImageRule(
        image="taxi-vertex/*", interpreter=PIPELINE_PYTHON, environment={"PYTHONPATH": str(REPOSITORY)}
    )
    settings = engine_settings(tfx_folder, warm=True, prestart=True, adopt=gcs_objects.adopt)
    history = RecordedHistory(tfx_heard)
    engines = build_engines(settings, image_table(rule), tfx_heard, JobRecorder(), history)
    yield engines.pipelines
    engines.close()


@pytest.fixture(scope="session")
def small_specs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small TFX pipeline in both schema versions: 2.0.json and 2.1.json."""
    folder = tmp_path_factory.mktemp("compiled")
    run_in_pipeline_environment("tests.local_vertex_engine.tfx_definition", folder, cwd=folder)
    return folder
