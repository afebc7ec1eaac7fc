"""An engine over a temporary folder, closed after each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from local_gcp.vertex.adapters.composition import build_pipeline_engine
from tests.vertex_engine.specs import Recorder, engine_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local_gcp.vertex.engine.pipelines import LocalPipelineEngine


# A machine that is busy with other tests may take its time for an example.
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")


@pytest.fixture
def recorder() -> Recorder:
    """What the engine reports."""
    return Recorder()


@pytest.fixture
def engine(tmp_path: Path, recorder: Recorder) -> Iterator[LocalPipelineEngine]:
    """An engine that runs plain subprocesses."""
    engine = build_pipeline_engine(engine_settings(tmp_path), recorder)
    yield engine
    engine.close()
