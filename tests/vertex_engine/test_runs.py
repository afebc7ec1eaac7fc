from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_gcp.vertex.domain.states import RunState
from tests.vertex_engine.specs import BUCKET, pipeline_run, pipeline_spec, python_task

if TYPE_CHECKING:
    from pathlib import Path

    from local_gcp.vertex.engine.pipelines import LocalPipelineEngine
    from tests.vertex_engine.specs import Recorder

DATASET = {"artifactType": {"schemaTitle": "system.Dataset"}}
WRITE = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('hello')"
COPY = (
    "import sys, pathlib; pathlib.Path(sys.argv[2]).write_text(pathlib.Path(sys.argv[1]).read_text() + '!')"
)


def produce_and_consume() -> dict[str, Any]:
    """A pipeline of two tasks that hand a file on."""
    return pipeline_spec(
        {
            "produce": python_task(
                WRITE,
                "{{$.outputs.artifacts['text'].uri}}",
                component={"outputDefinitions": {"artifacts": {"text": DATASET}}},
            ),
            "consume": python_task(
                COPY,
                "{{$.inputs.artifacts['text'].uri}}",
                "{{$.outputs.artifacts['copy'].uri}}",
                component={
                    "inputDefinitions": {"artifacts": {"text": DATASET}},
                    "outputDefinitions": {"artifacts": {"copy": DATASET}},
                },
                inputs={
                    "artifacts": {
                        "text": {
                            "taskOutputArtifact": {"producerTask": "produce", "outputArtifactKey": "text"}
                        }
                    }
                },
            ),
        }
    )


def test_two_tasks_hand_a_file_on(engine: LocalPipelineEngine, recorder: Recorder, tmp_path: Path) -> None:
    """An artifact that one task writes is read by the next, below the layout of Vertex AI."""
    run = pipeline_run(produce_and_consume())
    engine.start(run)
    state = recorder.wait(run)
    (copy,) = recorder.tasks[run.name]["consume"].outputs["copy"]

    assert state is RunState.SUCCEEDED, recorder.errors
    assert copy.uri.startswith(f"gs://{BUCKET}/root/1/job/consume_")
    assert (tmp_path / "gcs" / copy.uri.removeprefix("gs://")).read_text() == "hello!"
