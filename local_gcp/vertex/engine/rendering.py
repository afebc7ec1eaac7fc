"""Renders the command lines of a task: placeholders get their values, gs:// becomes a folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_gcp.vertex.domain.placeholders import Kind
from local_gcp.vertex.engine.executor_input import OutputError, executor_input
from local_gcp.vertex.engine.task_inputs import text_of

if TYPE_CHECKING:
    from local_gcp.vertex.domain.placeholders import Placeholder, Template
    from local_gcp.vertex.domain.records import ArtifactRecord
    from local_gcp.vertex.engine.executor_input import TaskInputs, TaskOutputs
    from local_gcp.vertex.engine.task_inputs import Upstream
    from local_gcp.vertex.engine.uris import TaskFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """What the placeholders of one task stand for."""

    upstream: Upstream
    task: str
    folder: TaskFolder
    inputs: TaskInputs
    outputs: TaskOutputs

    def of(self, template: Template) -> str:
        """Return the text of `template`; raises OutputError for a placeholder of an empty input."""
        return self.folder.to_local(template.render(self._value))

    def _value(self, placeholder: Placeholder) -> str:
        match placeholder.kind:
            case Kind.EXECUTOR_INPUT:
                return executor_input(self.inputs, self.outputs)
            case Kind.RUN:
                return self.upstream.run_field(placeholder.field, self.task)
            case Kind.OUTPUT_FILE:
                return self.outputs.output_file
            case Kind.OUTPUT_PARAMETER:
                return self.outputs.parameter_files[placeholder.key]
            case Kind.INPUT_PARAMETER:
                return self._parameter(placeholder)
            case Kind.INPUT_ARTIFACT | Kind.OUTPUT_ARTIFACT:
                return self._field(placeholder, self._artifact(placeholder))

    def _parameter(self, placeholder: Placeholder) -> str:
        if placeholder.key not in self.inputs.parameters:
            raise OutputError(f"'{placeholder.text}' has no value: the input is empty")
        return text_of(self.inputs.parameters[placeholder.key])

    def _artifact(self, placeholder: Placeholder) -> ArtifactRecord:
        side = self.inputs if placeholder.kind is Kind.INPUT_ARTIFACT else self.outputs
        records = side.artifacts.get(placeholder.key, ())
        if not records:
            raise OutputError(f"'{placeholder.text}' has no value: the input is empty")
        return records[0]

    def _field(self, placeholder: Placeholder, artifact: ArtifactRecord) -> str:
        match placeholder.field:
            case "name":
                return artifact.name
            case "value":
                return (self.folder.gcs_root / artifact.uri.removeprefix("gs://")).read_text()
            case "metadata":
                return _metadata(placeholder, artifact)
            case _:
                return artifact.uri


def _metadata(placeholder: Placeholder, artifact: ArtifactRecord) -> str:
    if not placeholder.property:
        return text_of(dict(artifact.metadata))
    if placeholder.property not in artifact.metadata:
        raise OutputError(f"'{placeholder.text}' has no value: the artifact has {sorted(artifact.metadata)}")
    return text_of(artifact.metadata[placeholder.property])
