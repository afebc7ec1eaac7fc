"""From the spec's executors to ours: containers, importers and resolvers; anything else is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml
from google.protobuf import json_format

from local_vertex.domain.errors import InvalidArgument, Unimplemented
from local_vertex.plan import parameters
from local_vertex.plan.artifact_query import query_template
from local_vertex.plan.placeholders import parse_template
from local_vertex.plan.plan import (
    ArtifactQuery,
    Constant,
    ContainerExecutor,
    Exec,
    ImporterExecutor,
    OutputArtifact,
    ResolverExecutor,
    Resources,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from local_vertex.plan.placeholders import Template
    from local_vertex.plan.plan import (
        Executor,
        ParameterSource,
    )

# The arguments that TFX's runner gives every executor, whichever command starts it.
_TFX_ARGUMENT = "--executor_class_path"
_KFP_EXPRESSIONS = ('{"IfPresent"', '{"Concat"')
_GIGABYTE = 10**9
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12} | {
    f"{unit}i": 1 << (10 * power) for power, unit in enumerate("KMGT", start=1)
}
_CPU_UNITS = {"": 1.0, "m": 0.001}
_NUMBER = r"(?P<number>\d{1,15}(?:\.\d{1,15})?)"
_QUANTITY = re.compile(rf"{_NUMBER}(?P<unit>[KMGT]i?)?")
_CPU_QUANTITY = re.compile(rf"{_NUMBER}(?P<unit>m)?")


def executor(spec: Any, task: str, sources: Mapping[str, ParameterSource]) -> Executor:  # noqa: ANN401  # proto
    """Return the work of an ExecutorSpec; `sources` are the task's parameters.

    Raises Unimplemented for custom jobs and for queries of resolvers that are not supported.
    """
    match spec.WhichOneof("spec"):
        case "container":
            return _container(spec.container, task)
        case "importer":
            return ImporterExecutor(
                uri=_importer_uri(spec.importer.artifact_uri, task, sources),
                artifact=_output(spec.importer, spec.importer.type_schema),
                reimport=spec.importer.reimport,
            )
        case "resolver":
            queries = {
                key: ArtifactQuery(filter=query_template(query.filter, task), limit=query.limit or 1)
                for key, query in spec.resolver.output_artifact_queries.items()
            }
            return ResolverExecutor(queries=queries)
        case "custom_job":
            raise Unimplemented(
                f"task '{task}' runs a custom job; only containers are supported in a pipeline"
            )
        case _:
            raise InvalidArgument(f"the executor of task '{task}' is empty; compile the pipeline again")


def _container(spec: Any, task: str) -> ContainerExecutor:  # noqa: ANN401  # proto
    if not spec.image:
        raise InvalidArgument(f"the container of task '{task}' has no image; set its image")
    if not spec.command:
        raise Unimplemented(
            f"the container of task '{task}' has no command, and the entrypoint of image '{spec.image}' "
            "is not known on this machine; set its command"
        )
    hook = spec.lifecycle.pre_cache_check
    driver = Exec(command=_templates(hook.command), args=_templates(hook.args)) if hook.command else None
    return ContainerExecutor(
        image=spec.image,
        main=Exec(command=_templates(spec.command), args=_templates(spec.args)),
        driver=driver,
        tfx=_TFX_ARGUMENT in spec.args,
        env={variable.name: parse_template(variable.value) for variable in spec.env},
        resources=_resources(spec.resources, task),
    )


def _resources(spec: Any, task: str) -> Resources:  # noqa: ANN401  # proto
    """Read a ResourceSpec; a field whose value comes from a parameter counts as unset.

    Raises InvalidArgument for a value that is not a quantity.
    """
    return Resources(
        cpu_request=_cpus(spec, "request", task),
        cpu_limit=_cpus(spec, "limit", task),
        memory_request=_memory(spec, "request", task),
        memory_limit=_memory(spec, "limit", task),
        accelerator=_accelerator(spec.accelerator),
    )


def _cpus(spec: Any, which: str, task: str) -> float | None:  # noqa: ANN401  # proto
    """Return cores: a quantity such as `4` or `500m`, or a number in older specs."""
    text = getattr(spec, f"resource_cpu_{which}")
    if not text or "{{" in text:
        return None if text else getattr(spec, f"cpu_{which}") or None
    match = _CPU_QUANTITY.fullmatch(text)
    if match is None:
        raise InvalidArgument(
            f"the CPUs of task '{task}' are '{text}'; expected a quantity such as 4 or 500m"
        )
    return float(match["number"]) * _CPU_UNITS[match["unit"] or ""]


def _memory(spec: Any, which: str, task: str) -> int | None:  # noqa: ANN401  # proto
    """Return bytes: a quantity such as `3.75G`, or a number of gigabytes in older specs."""
    text = getattr(spec, f"resource_memory_{which}")
    if not text:
        return int(getattr(spec, f"memory_{which}") * _GIGABYTE) or None
    if "{{" in text:
        return None
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise InvalidArgument(
            f"the memory of task '{task}' is '{text}'; expected a quantity such as 4G or 512Mi"
        )
    return int(float(match["number"]) * _UNITS[match["unit"] or ""])


def _accelerator(spec: Any) -> str:  # noqa: ANN401  # proto
    kind = spec.resource_type or spec.type
    count = spec.resource_count or str(spec.count or 1)
    return f"{kind} x {count}" if kind else ""


def _templates(texts: Iterable[str]) -> tuple[Template, ...]:
    templates = []
    for text in texts:
        if text.startswith(_KFP_EXPRESSIONS):
            raise Unimplemented(
                f"argument {text[:60]!r} is an IfPresent or Concat expression; write it as a plain string"
            )
        templates.append(parse_template(text))
    return tuple(templates)


def _importer_uri(message: Any, task: str, sources: Mapping[str, ParameterSource]) -> ParameterSource:  # noqa: ANN401
    value = parameters.constant(message)
    if value is not None:
        return Constant(value=value)
    name = message.runtime_parameter
    if name not in sources:
        raise InvalidArgument(f"importer '{task}' takes its URI from input '{name}', which it does not have")
    return sources[name]


def output_artifact(spec: Any) -> OutputArtifact:  # noqa: ANN401  # ComponentOutputsSpec.ArtifactSpec
    """Return a component's declaration of one of its output artifacts."""
    return _output(spec, spec.artifact_type)


def _output(spec: Any, type_schema: Any) -> OutputArtifact:  # noqa: ANN401  # protos that share the fields
    metadata = {key: parameters.constant(value) for key, value in spec.properties.items()}
    metadata |= {key: parameters.constant(value) for key, value in spec.custom_properties.items()}
    metadata |= json_format.MessageToDict(spec.metadata)
    return OutputArtifact(
        schema_title=schema_title(type_schema),
        type_schema=json_format.MessageToDict(type_schema),
        metadata={key: value for key, value in metadata.items() if value is not None},
    )


def schema_title(type_schema: Any) -> str:  # noqa: ANN401  # ArtifactTypeSchema
    """Return the title of an artifact type, for instance `tfx.Model` or `system.Dataset`."""
    if type_schema.WhichOneof("kind") == "instance_schema":
        try:
            schema = yaml.safe_load(type_schema.instance_schema)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise InvalidArgument(f"an instanceSchema is not valid YAML: {error}") from error
        return str(schema.get("title", "")) if isinstance(schema, dict) else ""
    return str(type_schema.schema_title or type_schema.schema_uri)
