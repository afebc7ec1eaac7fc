from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from local_vertex.domain.errors import InvalidArgument, Unimplemented
from local_vertex.domain.records import ArtifactRecord
from local_vertex.domain.states import RunState, TaskState
from local_vertex.plan.artifact_query import parse_filter
from tests.local_vertex_engine.specs import (
    VolatileHistory,
    engine_settings,
    pipeline_engine,
    pipeline_run,
    pipeline_spec,
    python_task,
)

if TYPE_CHECKING:
    from pathlib import Path

    from local_vertex.domain.errors import VertexError
    from tests.local_vertex_engine.specs import Recorder

MODEL = {"artifactType": {"instanceSchema": "title: tfx.Model\ntype: object\n"}}
BLESSING = {"artifactType": {"instanceSchema": "title: tfx.ModelBlessing\ntype: object\n"}}
BLESSED = 'schema_title="tfx.ModelBlessing" AND state=LIVE AND metadata.blessed.number_value=1'
NAMED = (
    'schema_title="tfx.Model" AND state=LIVE AND '
    "name=\"{{$.inputs.artifacts['input'].metadata['current_model_id']}}\""
)
SAY = (
    "import json, sys; given = json.loads(sys.argv[1])['inputs']['artifacts'];"
    "print('models', [artifact['name'] for artifact in given['model']['artifacts']])"
)


def made(name: str, schema_title: str, **metadata: Any) -> ArtifactRecord:  # noqa: ANN401  # JSON values
    """An artifact of an earlier run."""
    return ArtifactRecord(
        name=name, uri=f"gs://bucket/{name}", schema_title=schema_title, type_schema={}, metadata=metadata
    )


@dataclass
class History(VolatileHistory):
    """Earlier runs of the pipeline `test` that left these artifacts, the newest first."""

    left: tuple[ArtifactRecord, ...] = ()

    def artifacts(self, pipeline: str, schema_title: str) -> tuple[ArtifactRecord, ...]:
        """Return the artifacts of a type."""
        return tuple(a for a in self.left if a.schema_title == schema_title and pipeline == "test")


def resolver(key: str, declared: dict[str, Any], query: str, **task: Any) -> dict[str, Any]:  # noqa: ANN401
    """A resolver with one query, in the form of `python_task`."""
    inputs = {"artifacts": {"input": BLESSING}} if task else {}
    return {
        "task": task,
        "component": {"inputDefinitions": inputs, "outputDefinitions": {"artifacts": {key: declared}}},
        "executor": {"resolver": {"outputArtifactQueries": {key: {"filter": query}}}},
    }


def resolving_spec() -> dict[str, Any]:
    """TFX's compiled resolver of the latest blessed model, and a task that reads its model."""
    artifact = {"taskOutputArtifact": {"producerTask": "blessing", "outputArtifactKey": "blessing"}}
    read = python_task(
        SAY,
        "{{$}}",
        component={"inputDefinitions": {"artifacts": {"model": MODEL}}},
        inputs={
            "artifacts": {
                "model": {"taskOutputArtifact": {"producerTask": "model", "outputArtifactKey": "model"}}
            }
        },
    )
    return pipeline_spec(
        {
            "blessing": resolver("blessing", BLESSING, BLESSED),
            "model": resolver("model", MODEL, NAMED, inputs={"artifacts": {"input": artifact}}),
            "read": read,
        }
    )


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ((), []),
        ((made("m1", "tfx.Model"), made("b1", "tfx.ModelBlessing", blessed=0, current_model_id="m1")), []),
        (
            (
                made("m3", "tfx.Model"),
                made("b2", "tfx.ModelBlessing", blessed=1.0, current_model_id="m2"),
                made("m2", "tfx.Model"),
                made("b1", "tfx.ModelBlessing", blessed=1, current_model_id="m1"),
                made("m1", "tfx.Model"),
            ),
            ["m2"],
        ),
        ((made("b9", "tfx.ModelBlessing", blessed=1, current_model_id="m9"),), []),
    ],
    ids=["no runs", "not blessed", "the latest blessed", "model gone"],
)
def test_the_latest_blessed_model(
    tmp_path: Path, recorder: Recorder, left: tuple[ArtifactRecord, ...], expected: list[str]
) -> None:
    """The resolver finds the model that the latest blessing names; without any the input is empty."""
    engine = pipeline_engine(engine_settings(tmp_path), recorder, history=History(left=left))
    run = pipeline_run(resolving_spec())
    engine.start(engine.accept(run))
    state = recorder.wait(run)
    engine.close()
    log_path = recorder.tasks[run.name]["read"].log_path

    assert state is RunState.SUCCEEDED, recorder.errors
    assert recorder.task_states(run)["model"] is TaskState.SUCCEEDED
    assert log_path is not None
    assert f"models {expected}" in log_path.read_text()


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("state=LIVE", Unimplemented),
        ('schema_title="tfx.Model" OR state=LIVE', Unimplemented),
        ('schema_title="tfx.Model" AND create_time > "2026"', Unimplemented),
        ('schema_title="tfx.Model" AND metadata.x.number_value="a"', InvalidArgument),
        ('schema_title="tfx.Model" AND uri="{{$.outputs.artifacts[\'x\'].uri}}"', InvalidArgument),
        ('schema_title="tfx.Model" AND uri="{{$.inputs.artifacts[\'x\'].uri}}"', InvalidArgument),
    ],
)
def test_what_cannot_be_answered_is_refused(
    tmp_path: Path, recorder: Recorder, query: str, error: type[VertexError]
) -> None:
    """A query beyond equations joined by AND is refused at the door."""
    engine = pipeline_engine(engine_settings(tmp_path), recorder)
    with pytest.raises(error):
        engine.accept(pipeline_run(pipeline_spec({"r": resolver("model", MODEL, query)})))
    engine.close()


def test_metadata_values_have_types() -> None:
    """The number 1 is not true, nor is the string '1'."""
    number, truth, text = (
        parse_filter(f'schema_title="t" AND metadata.x.{kind}_value={value}')[1]
        for kind, value in (("number", "1"), ("bool", "true"), ("string", '"1"'))
    )
    values = (1, True, "1")
    matches = [[term.matches(made("a", "t", x=value)) for value in values] for term in (number, truth, text)]

    assert matches == [[True, False, False], [False, True, False], [False, False, True]]
