"""Renders the command lines of a task: placeholders get their values, artifacts a folder of this machine.

On Vertex AI a container finds artifacts below /gcs, and a string that says gs:// reaches it unchanged. The
same holds here, except for TFX: its executors read what their parameters name through TensorFlow's Cloud
Storage file system, whose endpoint is compiled in, so all that they get names folders of this machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from local_vertex.plan.placeholders import Kind
from local_vertex.run.executor_input import OutputError, TaskOutputs, executor_input
from local_vertex.run.task_inputs import text_of

if TYPE_CHECKING:
    from local_vertex.domain.records import ArtifactLists, ArtifactRecord
    from local_vertex.plan.placeholders import Placeholder, Template
    from local_vertex.run.executor_input import TaskInputs
    from local_vertex.run.task_folder import TaskFolder
    from local_vertex.run.task_inputs import Upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """The values of one task's placeholders; `tfx` is whether TFX reads what is rendered."""

    upstream: Upstream
    task: str
    folder: TaskFolder
    inputs: TaskInputs
    outputs: TaskOutputs
    tfx: bool

    def of(self, template: Template) -> str:
        """Return `template` with its values; raises OutputError for a placeholder of an empty input."""
        text = template.render(self._value)
        return self.folder.to_local(text) if self.tfx else text

    def _value(self, placeholder: Placeholder) -> str:
        match placeholder.kind:
            case Kind.EXECUTOR_INPUT:
                return self._executor_input()
            case Kind.RUN:
                return self.upstream.run_field(placeholder.field, self.task)
            case Kind.OUTPUT_FILE:
                return self.folder.to_local(self.outputs.output_file)
            case Kind.OUTPUT_PARAMETER:
                return self.folder.to_local(self.outputs.parameter_files[placeholder.key])
            case Kind.INPUT_PARAMETER:
                if placeholder.key not in self.inputs.parameters:
                    raise OutputError(f"'{placeholder.text}' has no value: the input is empty")
                return text_of(self.inputs.parameters[placeholder.key])
            case Kind.INPUT_ARTIFACT | Kind.OUTPUT_ARTIFACT:
                return self._field(placeholder, self._artifact(placeholder))

    def _executor_input(self) -> str:
        local = self.folder.to_local
        outputs = TaskOutputs(
            artifacts=self._local(self.outputs.artifacts),
            parameter_files={key: local(uri) for key, uri in self.outputs.parameter_files.items()},
            output_file=local(self.outputs.output_file),
        )
        return executor_input(replace(self.inputs, artifacts=self._local(self.inputs.artifacts)), outputs)

    def _local(self, lists: ArtifactLists) -> ArtifactLists:
        return {
            key: tuple(replace(record, uri=self.folder.to_local(record.uri)) for record in records)
            for key, records in lists.items()
        }

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
                return self.folder.to_local(artifact.uri)


def _metadata(placeholder: Placeholder, artifact: ArtifactRecord) -> str:
    if not placeholder.property:
        return text_of(dict(artifact.metadata))
    if placeholder.property not in artifact.metadata:
        raise OutputError(f"'{placeholder.text}' has no value: the artifact has {sorted(artifact.metadata)}")
    return text_of(artifact.metadata[placeholder.property])
