"""A pipeline as the engine runs it: tasks, where their inputs come from, and what they produce."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from local_vertex.domain.errors import InvalidArgument
from local_vertex.plan.conditions import inputs_of
from local_vertex.plan.placeholders import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from local_vertex.plan.conditions import Expression
    from local_vertex.plan.placeholders import Placeholder, Template


class ParameterType(StrEnum):
    """The types of parameters, named as in schema 2.1."""

    STRING = "STRING"
    NUMBER_INTEGER = "NUMBER_INTEGER"
    NUMBER_DOUBLE = "NUMBER_DOUBLE"
    BOOLEAN = "BOOLEAN"
    LIST = "LIST"
    STRUCT = "STRUCT"
    TASK_FINAL_STATUS = "TASK_FINAL_STATUS"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterDefinition:
    """A parameter as a component or pipeline declares it; `default` None means that it has none."""

    type: ParameterType
    default: Any = None
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A parameter whose value is in the spec."""

    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A string constant with placeholders of the task's other parameters in it."""

    template: Template


@dataclass(frozen=True, slots=True, kw_only=True)
class RunParameter:
    """A parameter that takes the value of a parameter of the run."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutput:
    """An output (parameter or artifact) `key` of another task."""

    task: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalStatus:
    """The final status of a task, or of all tasks of a nested DAG; read by exit handlers."""

    of: str
    tasks: frozenset[str]


ParameterSource = Constant | Embedded | RunParameter | TaskOutput | FinalStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputArtifact:
    """An output artifact as a component declares it; `type_schema` is proto JSON."""

    schema_title: str
    type_schema: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exec:
    """A command line with placeholders."""

    command: tuple[Template, ...]
    args: tuple[Template, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The resources that a container requests: CPUs, memory in bytes, accelerators; None and empty: unset."""

    cpu_request: float | None = None
    cpu_limit: float | None = None
    memory_request: int | None = None
    memory_limit: int | None = None
    accelerator: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerExecutor:
    """Runs a command in an image; `driver` runs before it and may change its inputs.

    `tfx` says that the command is the entry point of TFX's executors.
    """

    image: str
    main: Exec
    driver: Exec | None = None
    tfx: bool = False
    env: Mapping[str, Template] = field(default_factory=dict)
    resources: Resources = Resources()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImporterExecutor:
    """Brings an artifact that exists into the pipeline; the same one each time unless `reimport`."""

    uri: ParameterSource
    artifact: OutputArtifact
    reimport: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactQuery:
    """A filter, with placeholders, over the artifacts of earlier runs: the newest `limit` that match."""

    filter: Template
    limit: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverExecutor:
    """Looks up artifacts, for each output by a query of its own."""

    queries: Mapping[str, ArtifactQuery]


Executor = ContainerExecutor | ImporterExecutor | ResolverExecutor


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A task runs only if `expression` is true of these inputs; `text` is its form in the spec."""

    text: str
    expression: Expression
    parameters: Mapping[str, ParameterSource] = field(default_factory=dict)
    artifacts: Mapping[str, TaskOutput] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The retries of a failed task; the pauses between them are in seconds."""

    max_retries: int = 0
    backoff: float = 0.0
    factor: float = 2.0
    max_backoff: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTask:
    """One task. `name` is unique in the plan; `runs_always` is kfp's ALL_UPSTREAM_TASKS_COMPLETED.

    All `conditions`, its own and those of the DAGs around it, must hold for it to run.
    A `cacheable` task may take its outputs from an earlier execution; a `cache_key` of its own replaces
    everything that would make up the key.
    """

    name: str
    component: str
    executor: Executor
    depends_on: frozenset[str] = frozenset()
    parameters: Mapping[str, ParameterSource] = field(default_factory=dict)
    parameter_definitions: Mapping[str, ParameterDefinition] = field(default_factory=dict)
    artifacts: Mapping[str, TaskOutput] = field(default_factory=dict)
    output_artifacts: Mapping[str, OutputArtifact] = field(default_factory=dict)
    output_parameters: Mapping[str, ParameterType] = field(default_factory=dict)
    runs_always: bool = False
    conditions: tuple[Condition, ...] = ()
    cacheable: bool = False
    cache_key: str = ""
    retry: RetryPolicy = RetryPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A checked pipeline: every name that a task refers to exists, and no cycle does."""

    pipeline: str
    tasks: Mapping[str, PlannedTask]
    parameters: Mapping[str, ParameterDefinition] = field(default_factory=dict)


def check(plan: Plan) -> None:
    """Raise InvalidArgument for an input without a source, an unknown placeholder, or a cycle of tasks."""
    if not plan.tasks:
        raise InvalidArgument("the pipeline has no tasks")
    for task in plan.tasks.values():
        _check_task(plan, task)
    try:
        TopologicalSorter({task.name: task.depends_on for task in plan.tasks.values()}).prepare()
    except CycleError as error:
        raise InvalidArgument(
            f"tasks depend on each other in a circle: {' → '.join(error.args[1])}"
        ) from error


def _check_task(plan: Plan, task: PlannedTask) -> None:
    """Raise InvalidArgument when `task` reads something that does not exist."""
    for key, declared in task.parameter_definitions.items():
        if key not in task.parameters and not declared.optional:
            raise InvalidArgument(
                f"task '{task.name}' lacks a value for its input '{key}', which has no default"
            )
    for parameter, source in task.parameters.items():
        if isinstance(source, TaskOutput):
            _check_output(task, parameter, source, plan.tasks[source.task].output_parameters)
    for artifact, output in task.artifacts.items():
        _check_output(task, artifact, output, plan.tasks[output.task].output_artifacts)
    if isinstance(task.executor, ResolverExecutor) and set(task.executor.queries) != set(
        task.output_artifacts
    ):
        raise InvalidArgument(
            f"resolver '{task.name}' has queries for {sorted(task.executor.queries)}, but its outputs are "
            f"{sorted(task.output_artifacts)}"
        )
    for condition in task.conditions:
        _check_condition(plan, task, condition)
    for placeholder in _placeholders(task):
        _check_placeholder(task, placeholder)


def _check_condition(plan: Plan, task: PlannedTask, condition: Condition) -> None:
    for read in sorted(inputs_of(condition.expression)):
        group, _, key = read.partition(".")
        known = condition.artifacts if group == "artifacts" else condition.parameters
        if key not in known:
            raise InvalidArgument(
                f"the condition {condition.text!r} of task '{task.name}' reads '{key}', but its {group} are "
                f"{sorted(known) or 'none'}"
            )
    for artifact, output in condition.artifacts.items():
        _check_output(task, artifact, output, plan.tasks[output.task].output_artifacts)


def _check_output(task: PlannedTask, key: str, source: TaskOutput, outputs: Iterable[str]) -> None:
    known = sorted(outputs)
    if source.key not in known:
        raise InvalidArgument(
            f"input '{key}' of task '{task.name}' reads output '{source.key}' of '{source.task}', "
            f"which produces {known or 'none'}"
        )


def _placeholders(task: PlannedTask) -> Iterator[Placeholder]:
    for source in task.parameters.values():
        if isinstance(source, Embedded):
            yield from source.template.placeholders
    if isinstance(task.executor, ResolverExecutor):
        for query in task.executor.queries.values():
            yield from query.filter.placeholders
    if isinstance(task.executor, ContainerExecutor):
        hooks = (task.executor.main, task.executor.driver)
        for hook in hooks:
            for template in (*hook.command, *hook.args) if hook else ():
                yield from template.placeholders
        for variable in task.executor.env.values():
            yield from variable.placeholders


def _check_placeholder(task: PlannedTask, placeholder: Placeholder) -> None:
    known: dict[Kind, Iterable[str]] = {
        Kind.INPUT_PARAMETER: task.parameters,
        Kind.INPUT_ARTIFACT: task.artifacts,
        Kind.OUTPUT_PARAMETER: task.output_parameters,
        Kind.OUTPUT_ARTIFACT: task.output_artifacts,
    }
    names = sorted(known.get(placeholder.kind, ()))
    if placeholder.kind in known and placeholder.key not in names:
        raise InvalidArgument(
            f"task '{task.name}' uses '{placeholder.text}', but its {placeholder.kind} are {names or 'none'}"
        )
