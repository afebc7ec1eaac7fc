"""Checks at the door that every input of a task has a source and every placeholder a meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_vertex.domain.errors import InvalidArgument
from local_vertex.plan.conditions import inputs_of
from local_vertex.plan.placeholders import Kind
from local_vertex.plan.plan import ContainerExecutor, Embedded, ResolverExecutor, TaskOutput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from local_vertex.plan.placeholders import Placeholder
    from local_vertex.plan.plan import Condition, Plan, PlannedTask


def check_task(plan: Plan, task: PlannedTask) -> None:
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
