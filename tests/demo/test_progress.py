from __future__ import annotations

from typing import TYPE_CHECKING

from google.cloud import aiplatform_v1

from demo.progress import PipelineProgress
from tests.local_vertex.servers import connect, running_server
from tests.local_vertex.test_pipeline_jobs import create

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_each_change_of_a_component_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The output of a run has each state change of its components once."""
    with running_server(tmp_path) as server:
        name = create(connect(aiplatform_v1.PipelineServiceClient, server, "grpc"), "taxi-1").name
        server.engine.finish_task(name, "Trainer")
        progress = PipelineProgress(server.rest_url)
        progress.show()
        told = capsys.readouterr().err
        progress.show()

    assert told.split() == ["Trainer", "succeeded", "after", "0", "s"]
    assert capsys.readouterr().err == ""
