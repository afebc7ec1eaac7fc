from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local_vertex.domain.errors import InvalidArgument, Unimplemented, VertexError
from tests.local_vertex_engine.specs import pipeline_run, pipeline_spec, python_task

if TYPE_CHECKING:
    from local_vertex.run.pipelines import LocalPipelineEngine

STRING_INPUT = {"inputDefinitions": {"parameters": {"p": {"parameterType": "STRING"}}}}


def one_task(**spec: Any) -> dict[str, Any]:  # noqa: ANN401  # IR JSON
    """Return a pipeline of one task `t`."""
    return pipeline_spec({"t": python_task("pass", **spec)})


def refusal(engine: LocalPipelineEngine, spec: dict[str, Any], **changes: Any) -> VertexError:  # noqa: ANN401
    """Return the error that the run meets at the door."""
    with pytest.raises(VertexError) as caught:
        engine.accept(pipeline_run(spec, **changes))
    return caught.value


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({}, "schemaVersion is missing"),
        ({"schemaVersion": "2.1.0"}, "has no dag"),
        ({"schemaVersion": "2.1.0", "root": {"dagg": {}}}, "not a valid PipelineSpec"),
        ({"schemaVersion": "2.1.0", "root": {"dag": {}}}, "no tasks"),
        (one_task(dependentTasks=["gone"]), "'gone', which is none of"),
        (one_task(dependentTasks=["t"]), "in a circle"),
        (one_task(componentRef={"name": "gone"}), "component 'gone'"),
        (one_task(component={"executorLabel": "gone"}), "executor 'gone'"),
        (one_task(component=STRING_INPUT), "lacks a value for its input 'p'"),
        (one_task(container={"image": "elsewhere/x:1"}), "not in this machine's image table"),
        (one_task(container={"args": ["{{$.inputs.parameters['gone']}}"]}), "its inputs.parameters are none"),
        (one_task(container={"args": ["{{$.nonsense}}"]}), "placeholder '{{$.nonsense}}' is unknown"),
        (
            one_task(inputs={"parameters": {"p": {"componentInputParameter": "gone"}}}),
            "parameter 'gone', which the pipeline lacks",
        ),
        (
            one_task(
                component=STRING_INPUT,
                inputs={
                    "parameters": {
                        "p": {"taskOutputParameter": {"producerTask": "t", "outputParameterKey": "x"}}
                    }
                },
            ),
            "which produces none",
        ),
    ],
)
def test_what_vertex_refuses_is_invalid(
    engine: LocalPipelineEngine, spec: dict[str, Any], problem: str
) -> None:
    """A spec that contradicts itself is refused before anything runs, naming what is wrong."""
    error = refusal(engine, spec)

    assert isinstance(error, InvalidArgument)
    assert problem in error.message


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"schemaVersion": "3.0.0"}, "supported are 2.0.x and 2.1.x"),
        (one_task(triggerPolicy={"condition": "size(inputs) == 1"}), "uses 'size'"),
        (one_task(parameterIterator={"itemInput": "p", "items": {"raw": "[]"}}), "loops"),
        (one_task(container={"command": []}), "has no command"),
        (one_task(container={"args": ['{"IfPresent": {}}']}), "IfPresent"),
    ],
)
def test_what_only_we_refuse_is_unimplemented(
    engine: LocalPipelineEngine, spec: dict[str, Any], problem: str
) -> None:
    """A spec that Vertex AI could run and we cannot is refused as such."""
    error = refusal(engine, spec)

    assert isinstance(error, Unimplemented)
    assert problem in error.message


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/root",
        "gs://",
        "gs:///x",
        "s3://b/x",
        "gs://bucket/../x",
        "gs://ab/x",
        "gs://Bucket/x",
        "gs://bucket-/x",
        "gs://a..b/x",
        f"gs://{'b' * 64}/x",
        f"gs://{'.'.join(['b' * 63] * 4)}/x",
    ],
)
def test_the_output_directory_is_a_gcs_uri(engine: LocalPipelineEngine, uri: str) -> None:
    """An output directory that is not on Cloud Storage is refused."""
    error = refusal(engine, one_task(), output_directory=uri)

    assert "gcsOutputDirectory" in error.message


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "has no value and no default"),
        ({"n": 1, "m": 2}, "'m' does not exist"),
        ({"n": "one"}, "which is not a NUMBER_INTEGER"),
        ({"n": 1.5}, "which is not a NUMBER_INTEGER"),
        ({"n": True}, "which is not a NUMBER_INTEGER"),
    ],
)
def test_runtime_parameters_are_checked(
    engine: LocalPipelineEngine, values: dict[str, Any], problem: str
) -> None:
    """A runtime parameter that is missing, unknown or of the wrong type is refused."""
    root = {"inputDefinitions": {"parameters": {"n": {"parameterType": "NUMBER_INTEGER"}}}}
    error = refusal(engine, pipeline_spec({"t": python_task("pass")}, **root), parameter_values=values)

    assert isinstance(error, InvalidArgument)
    assert problem in error.message


def component_in_itself() -> dict[str, Any]:
    """Return a pipeline whose one component is a DAG of itself."""
    spec = one_task()
    inner = {"tasks": {"again": {"componentRef": {"name": "t"}, "taskInfo": {"name": "again"}}}}
    spec["components"]["t"] = {"dag": inner}
    return spec


def importer_with(value: object) -> dict[str, Any]:
    """Return a pipeline of an importer whose artifact has a property."""
    properties = {"p": {"constantValue": {"doubleValue": value}}}
    task = python_task("pass")
    task["executor"] = {"importer": {"artifactUri": {"constant": "gs://b/x"}, "properties": properties}}
    return pipeline_spec({"t": task})


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (one_task(triggerPolicy={"condition": "(" * 5000}), "is too long"),
        (one_task(triggerPolicy={"condition": "!" * 5000}), "is too long"),
        (one_task(triggerPolicy={"condition": "true" + " && true" * 5000}), "is too long"),
        (one_task(triggerPolicy={"condition": f"1 < {'9' * 5000}"}), "has 5000 digits"),
        (one_task(retryPolicy={"maxRetryCount": 1, "backoffFactor": "NaN"}), "backoffFactor is nan"),
        (one_task(container={"resources": {"cpuRequest": "Infinity"}}), "cpuRequest is inf"),
        (one_task(container={"resources": {"resourceMemoryRequest": "9" * 400}}), "expected a quantity"),
        (importer_with("NaN"), "doubleValue is nan"),
        (component_in_itself(), "part of itself"),
        ({"schemaVersion": "2.1.0", "root": 10**400}, "is not a valid PipelineSpec"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_has_no_bounds_is_invalid(
    engine: LocalPipelineEngine, spec: dict[str, Any], problem: str
) -> None:
    """Numbers, conditions and components that never end are refused as anything else is."""
    error = refusal(engine, spec)

    assert isinstance(error, InvalidArgument)
    assert problem in error.message
