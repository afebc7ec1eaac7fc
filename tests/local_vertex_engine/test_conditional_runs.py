from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local_vertex.domain.errors import InvalidArgument
from local_vertex.domain.states import RunState, TaskState
from tests.local_vertex_engine.specs import pipeline_run, pipeline_spec, python_task

if TYPE_CHECKING:
    from local_vertex.run.pipelines import LocalPipelineEngine
    from tests.local_vertex_engine.specs import Recorder

BLESSING = {"artifactType": {"instanceSchema": "title: tfx.ModelBlessing\ntype: object\n"}}
BLESS = (
    "import json, pathlib, sys; given = json.loads(sys.argv[1]);"
    "pathlib.Path(given['outputs']['outputFile']).write_text(json.dumps("
    "{'artifacts': {'blessing': {'artifacts': [{'metadata': {'blessed': int(sys.argv[2])}}]}}}))"
)
BLESSED = "(inputs.artifacts['_blessing'].artifacts[0].metadata['blessed'] == 1.0)"


def conditional_spec(blessed: int, condition: str = BLESSED) -> dict[str, Any]:
    """A push that depends on a blessing, as TFX compiles Cond, and what comes after the push."""
    bless = python_task(
        BLESS, "{{$}}", str(blessed), component={"outputDefinitions": {"artifacts": {"blessing": BLESSING}}}
    )
    push = python_task(
        "pass",
        component={"inputDefinitions": {"artifacts": {"_blessing": BLESSING}}},
        inputs={
            "artifacts": {
                "_blessing": {
                    "taskOutputArtifact": {"producerTask": "bless", "outputArtifactKey": "blessing"}
                }
            }
        },
        triggerPolicy={"condition": condition},
    )
    after = python_task("pass", dependentTasks=["push"])
    free = python_task("pass", dependentTasks=["bless"])
    return pipeline_spec({"bless": bless, "push": push, "after": after, "free": free})


def outcome(
    engine: LocalPipelineEngine,
    recorder: Recorder,
    spec: dict[str, Any],
    **run: Any,  # noqa: ANN401
) -> tuple[RunState, dict[str, TaskState]]:
    """Run a spec; return the final states of the run and its tasks."""
    started = pipeline_run(spec, **run)
    engine.start(engine.accept(started))
    return recorder.wait(started), recorder.task_states(started)


@pytest.mark.parametrize(("blessed", "expected"), [(1, TaskState.SUCCEEDED), (0, TaskState.NOT_TRIGGERED)])
def test_a_condition_decides(
    engine: LocalPipelineEngine, recorder: Recorder, blessed: int, expected: TaskState
) -> None:
    """A task whose condition is false is not triggered, nor is what depends on it; the run succeeds."""
    state, tasks = outcome(engine, recorder, conditional_spec(blessed))

    assert state is RunState.SUCCEEDED
    assert tasks == {
        "bless": TaskState.SUCCEEDED,
        "push": expected,
        "after": expected,
        "free": TaskState.SUCCEEDED,
    }


def test_a_condition_without_a_value_fails_its_task(engine: LocalPipelineEngine, recorder: Recorder) -> None:
    """A condition over metadata that was never written fails the task and says why."""
    state, tasks = outcome(engine, recorder, conditional_spec(1, BLESSED.replace("'blessed'", "'else'")))
    (error,) = recorder.errors.values()

    assert (state, tasks["push"]) == (RunState.FAILED, TaskState.FAILED)
    assert error is not None
    assert "no 'else' in {'blessed': 1}" in error.message


def test_a_wrong_condition_is_refused(engine: LocalPipelineEngine) -> None:
    """A condition that is not an expression is refused at the door."""
    with pytest.raises(InvalidArgument, match="condition"):
        engine.accept(pipeline_run(conditional_spec(1, "(1")))


def test_a_condition_over_what_the_task_does_not_read_is_refused(engine: LocalPipelineEngine) -> None:
    """An input that the task lacks is found at the door."""
    for unknown in ("inputs.artifacts['model'].artifacts[0].uri", "inputs.parameter_values['flip']"):
        with pytest.raises(InvalidArgument, match="but its"):
            engine.accept(pipeline_run(conditional_spec(1, f"{BLESSED} && !({unknown} == 'x')")))


@pytest.mark.parametrize(
    "value", ["inputs.parameter_values['flip']", "inputs.parameters['flip'].string_value"], ids=["2.1", "2.0"]
)
@pytest.mark.parametrize(
    ("flip", "expected"), [("heads", TaskState.SUCCEEDED), ("tails", TaskState.NOT_TRIGGERED)]
)
def test_the_condition_of_a_dag_holds_for_all_in_it(
    engine: LocalPipelineEngine, recorder: Recorder, value: str, flip: str, expected: TaskState
) -> None:
    """`dsl.If`, which kfp compiles to a DAG with a condition, takes effect by a parameter of the run."""
    spec = pipeline_spec({"inner": python_task("pass")})
    tasks = spec["root"]["dag"]["tasks"]
    definitions = {"parameters": {"flip": {"parameterType": "STRING"}}}
    spec["components"]["condition-1"] = {"dag": {"tasks": tasks}, "inputDefinitions": definitions}
    spec["root"] = {
        "inputDefinitions": definitions,
        "dag": {
            "tasks": {
                "condition-1": {
                    "componentRef": {"name": "condition-1"},
                    "taskInfo": {"name": "condition-1"},
                    "inputs": {"parameters": {"flip": {"componentInputParameter": "flip"}}},
                    "triggerPolicy": {"condition": f"{value} == 'heads'"},
                }
            }
        },
    }
    state, states = outcome(engine, recorder, spec, parameter_values={"flip": flip})

    assert (state, states) == (RunState.SUCCEEDED, {"inner": expected})
