"""Writes the ExecutorInput that an executor reads, and merges the ExecutorOutput that it writes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from local_vertex.domain.errors import InvalidArgument
from local_vertex.domain.records import ArtifactRecord
from local_vertex.plan.parameters import coerce, is_finite
from local_vertex.plan.plan import ParameterType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local_vertex.domain.records import ArtifactLists
    from local_vertex.plan.plan import PlannedTask
    from local_vertex.run.ports import PipelineRun

OUTPUT_FILE = "executor_output.json"
_DEEPEST = 20
_UNREADABLE = (json_format.ParseError, ValueError, KeyError, AttributeError, TypeError, RecursionError)


class OutputError(Exception):
    """An executor wrote an output that contradicts its component; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInputs:
    """The values of a task's inputs."""

    parameters: Mapping[str, Any]
    artifacts: ArtifactLists


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutputs:
    """The gs:// URIs of a task's outputs before it runs, and the outputs themselves afterwards."""

    artifacts: ArtifactLists
    parameter_files: Mapping[str, str]
    output_file: str


def numeric_id(*parts: str) -> int:
    """Return a positive int64 that is derived from `parts`."""
    digest = hashlib.sha256("\n".join(parts).encode()).digest()
    # An int64 has a sign: 63 bits are left.
    return int.from_bytes(digest[:8], "big") >> 1


def planned_outputs(run: PipelineRun, task: PlannedTask, folder_uri: str) -> TaskOutputs:
    """Return the outputs that `task` is to write below `folder_uri`, laid out as on Vertex AI."""
    return TaskOutputs(
        artifacts={
            key: (
                ArtifactRecord(
                    name=artifact_name(run, task.name, key),
                    uri=f"{folder_uri}/{key}",
                    schema_title=declared.schema_title,
                    type_schema=declared.type_schema,
                    metadata=declared.metadata,
                ),
            )
            for key, declared in task.output_artifacts.items()
        },
        parameter_files={key: f"{folder_uri}/{key}" for key in task.output_parameters},
        output_file=f"{folder_uri}/{OUTPUT_FILE}",
    )


def artifact_name(run: PipelineRun, task: str, key: str) -> str:
    """Return the resource name of an artifact of a run."""
    return f"{_artifacts(run)}/{numeric_id(run.name, task, key)}"


def imported_artifact_name(run: PipelineRun, artifact: ArtifactRecord) -> str:
    """Return the resource name of an imported artifact: of the same URI, type and metadata, the same one."""
    content = json.dumps([dict(artifact.type_schema), dict(artifact.metadata)], sort_keys=True)
    return f"{_artifacts(run)}/{numeric_id('imported', artifact.uri, content)}"


def _artifacts(run: PipelineRun) -> str:
    return f"projects/{run.project_number}/locations/{run.location}/metadataStores/default/artifacts"


def executor_input(inputs: TaskInputs, outputs: TaskOutputs) -> str:
    """Return the ExecutorInput as JSON; schema 2.0 reads `parameters`, 2.1 `parameterValues`."""
    return json.dumps(
        {
            "inputs": {
                "artifacts": _artifact_lists(inputs.artifacts),
                "parameters": {key: _legacy(value) for key, value in inputs.parameters.items()},
                "parameterValues": dict(inputs.parameters),
            },
            "outputs": {
                "artifacts": _artifact_lists(outputs.artifacts),
                "parameters": {key: {"outputFile": uri} for key, uri in outputs.parameter_files.items()},
                "outputFile": outputs.output_file,
            },
        }
    )


def _artifact_lists(lists: ArtifactLists) -> dict[str, Any]:
    return {key: {"artifacts": [_artifact(record) for record in records]} for key, records in lists.items()}


def _artifact(record: ArtifactRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "type": dict(record.type_schema),
        "uri": record.uri,
        "metadata": dict(record.metadata),
    }


def _legacy(value: Any) -> dict[str, Any]:  # noqa: ANN401  # a JSON value
    match value:
        case bool() | list() | dict():
            return {"stringValue": json.dumps(value)}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case _:
            return {"stringValue": str(value)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorOutput:
    """The output of an executor or driver."""

    artifacts: Mapping[str, list[dict[str, Any]]]
    parameters: Mapping[str, Any]

    @classmethod
    def parse(cls, text: str) -> ExecutorOutput:
        """Parse an executor_output.json of either schema; raises OutputError."""
        try:
            document = json.loads(text)
            _check_values(document, OUTPUT_FILE)
            artifacts = {key: listed["artifacts"] for key, listed in document.get("artifacts", {}).items()}
            legacy = {key: _from_legacy(value) for key, value in document.get("parameters", {}).items()}
            json_format.ParseDict(document, pb.ExecutorOutput(), ignore_unknown_fields=True)
        except _UNREADABLE as error:
            raise OutputError(f"{OUTPUT_FILE} is not an ExecutorOutput: {error!r}") from error
        return cls(artifacts=artifacts, parameters={**legacy, **document.get("parameterValues", {})})


def _from_legacy(value: Mapping[str, Any]) -> Any:  # noqa: ANN401  # a JSON value
    if "intValue" in value:
        return int(value["intValue"])
    return value.get("doubleValue", value.get("stringValue"))


def merge_artifacts(planned: ArtifactLists, written: ExecutorOutput) -> dict[str, tuple[ArtifactRecord, ...]]:
    """Return the artifacts as planned, with URI and metadata as written.

    Raises OutputError for an output that the component does not declare.
    """
    undeclared = sorted(set(written.artifacts) - set(planned))
    if undeclared:
        raise OutputError(f"it wrote artifact '{undeclared[0]}', which is not an output of its component")
    merged = dict(planned)
    for key, entries in written.artifacts.items():
        (first,) = planned[key]
        merged[key] = tuple(_merged(first, number, entry) for number, entry in enumerate(entries))
    return merged


def _merged(planned: ArtifactRecord, number: int, entry: Mapping[str, Any]) -> ArtifactRecord:
    name = entry.get("name") or (planned.name if number == 0 else f"{planned.name}-{number}")
    return replace(
        planned,
        name=name,
        uri=entry.get("uri") or planned.uri,
        metadata={**planned.metadata, **entry.get("metadata", {})},
    )


def typed_parameters(declared: Mapping[str, ParameterType], written: Mapping[str, Any]) -> dict[str, Any]:
    """Return the output parameters with their declared types; others are dropped, as a driver's are.

    Raises OutputError for a value of another type.
    """
    try:
        return {
            key: coerce(value, declared[key], f"output parameter '{key}'")
            for key, value in written.items()
            if key in declared
        }
    except InvalidArgument as error:
        raise OutputError(str(error)) from error


def parse_output_parameter(text: str, kind: ParameterType) -> Any:  # noqa: ANN401  # a JSON value
    """Return the parameter that a container wrote into its output file; raises OutputError."""
    if kind is ParameterType.STRING:
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OutputError(f"it wrote {text[:80]!r} as a {kind}") from error
    _check_values(value, f"a {kind}")
    return value


def _check_values(value: Any, where: str) -> None:  # noqa: ANN401  # a JSON value
    """Raise OutputError for values that cannot be published as a Struct, as the launcher of kfp does.

    These are numbers that are not finite, which Python writes and reads though JSON has none, and values that
    are nested more deeply than protobuf reads.
    """
    for path, each in _parts(value, where, 0):
        if isinstance(each, int | float) and not is_finite(each):
            shown = f"{each}" if isinstance(each, float) else f"a number of {each.bit_length()} bits"
            raise OutputError(f"{path} is {shown}; only finite numbers can be published")


def _parts(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  # a JSON value
    if depth > _DEEPEST:
        raise OutputError(f"{path[:80]} is nested more than {_DEEPEST} deep")
    yield path, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from _parts(each, f"{path}.{key}" if isinstance(value, dict) else f"{path}[{key}]", depth + 1)
