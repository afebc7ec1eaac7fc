"""From a parsed PipelineSpec to the Plan: nested DAGs are flattened, every reference is checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from local_vertex.domain.errors import InvalidArgument, Unimplemented
from local_vertex.plan import executors, parameters
from local_vertex.plan.conditions import parse_condition
from local_vertex.plan.placeholders import Kind, parse_template
from local_vertex.plan.plan import (
    Condition,
    Constant,
    Embedded,
    FinalStatus,
    Plan,
    PlannedTask,
    RetryPolicy,
    RunParameter,
    TaskOutput,
    check,
)
from local_vertex.plan.spec import parse_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local_vertex.plan.plan import (
        ParameterDefinition,
        ParameterSource,
    )
    from local_vertex.plan.spec import ParsedSpec

_ALWAYS = pb.PipelineTaskSpec.TriggerPolicy.ALL_UPSTREAM_TASKS_COMPLETED
_IN_CONSTANTS = frozenset({Kind.INPUT_PARAMETER, Kind.RUN})


def make_plan(wire: Mapping[str, Any]) -> Plan:
    """Return the plan of the PipelineSpec `wire` (IR JSON).

    Raises InvalidArgument if Vertex AI would refuse it, and Unimplemented if only this server does.
    """
    parsed = parse_spec(wire)
    root = parsed.spec.root
    definitions = {
        name: parameters.definition(spec, f"runtime parameter '{name}'")
        for name, spec in root.input_definitions.parameters.items()
    }
    if root.input_definitions.artifacts:
        raise Unimplemented("the pipeline takes artifacts as inputs; bring them in with an Importer")
    sources: dict[str, ParameterSource] = {name: RunParameter(name=name) for name in definitions}
    _check_components(parsed.spec.components)
    planner = _Planner(parsed=parsed, run_parameters=sources)
    tasks = {task.name: task for task in planner.tasks(_Scope(dag=root.dag, parameters=sources))}
    plan = Plan(pipeline=parsed.spec.pipeline_info.name, tasks=tasks, parameters=definitions)
    check(plan)
    return plan


def _check_components(components: Mapping[str, pb.ComponentSpec]) -> None:
    """Raise InvalidArgument when a component is part of itself."""
    parts = {
        name: [task.component_ref.name for task in component.dag.tasks.values()]
        for name, component in components.items()
    }
    try:
        TopologicalSorter(parts).prepare()
    except CycleError as error:
        raise InvalidArgument(f"a component is part of itself: {' → '.join(error.args[1])}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """One DAG and what its tasks see of the world around it."""

    dag: pb.DagSpec
    parameters: Mapping[str, ParameterSource]
    artifacts: Mapping[str, TaskOutput] = field(default_factory=dict)
    prefix: str = ""
    depends_on: frozenset[str] = frozenset()
    runs_always: bool = False
    conditions: tuple[Condition, ...] = ()

    def task(self, name: str, asked_by: str) -> str:
        """Return the key of the task `name`; TFX writes `X_task` for producers of dynamic properties."""
        for key in (name, name.removesuffix("_task")):
            if key in self.dag.tasks:
                return key
        known = sorted(self.dag.tasks)
        raise InvalidArgument(f"task '{asked_by}' depends on task '{name}', which is none of {known}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planner:
    """Walks the DAGs of one spec."""

    parsed: ParsedSpec
    run_parameters: Mapping[str, ParameterSource]

    def tasks(self, scope: _Scope) -> Iterator[PlannedTask]:
        # Maps of protobuf have no order of their own: sorted, one spec always gives the same plan.
        for name in sorted(scope.dag.tasks):
            spec = scope.dag.tasks[name]
            if spec.WhichOneof("iterator"):
                raise Unimplemented(
                    f"task '{name}' iterates, but loops (ParallelFor) are not supported here; "
                    "write a task for each item"
                )
            component = self._component(name, spec)
            if component.WhichOneof("implementation") == "dag":
                yield from self.tasks(self._inner(scope, name, spec, component))
            else:
                yield self._task(scope, name, spec, component)

    def _component(self, name: str, spec: pb.PipelineTaskSpec) -> pb.ComponentSpec:
        reference = spec.component_ref.name
        if reference not in self.parsed.spec.components:
            raise InvalidArgument(f"task '{name}' refers to component '{reference}', which does not exist")
        return self.parsed.spec.components[reference]

    def _inner(
        self, scope: _Scope, name: str, spec: pb.PipelineTaskSpec, component: pb.ComponentSpec
    ) -> _Scope:
        inputs = self._parameters(scope, name, spec)
        defaults = _defaults(_definitions(name, component), inputs)
        return _Scope(
            dag=component.dag,
            # TFX's `tfx-dag` declares no inputs, yet its tasks read the pipeline's parameters.
            parameters={**self.run_parameters, **defaults, **inputs},
            artifacts=self._artifacts(scope, name, spec),
            prefix=f"{scope.prefix}{name}.",
            depends_on=self._dependencies(scope, name, spec),
            runs_always=scope.runs_always or spec.trigger_policy.strategy == _ALWAYS,
            conditions=self._conditions(scope, name, spec, inputs),
        )

    def _task(
        self, scope: _Scope, name: str, spec: pb.PipelineTaskSpec, component: pb.ComponentSpec
    ) -> PlannedTask:
        label = component.executor_label
        if label not in self.parsed.executors:
            raise InvalidArgument(f"task '{name}' needs executor '{label}', which deploymentSpec lacks")
        definitions = _definitions(name, component)
        sources = self._parameters(scope, name, spec)
        sources = {**_defaults(definitions, sources), **sources}
        outputs = component.output_definitions
        return PlannedTask(
            name=scope.prefix + name,
            component=spec.component_ref.name,
            executor=executors.executor(self.parsed.executors[label], name, sources),
            depends_on=self._dependencies(scope, name, spec),
            parameters=sources,
            parameter_definitions=definitions,
            artifacts=self._artifacts(scope, name, spec),
            output_artifacts={key: executors.output_artifact(out) for key, out in outputs.artifacts.items()},
            output_parameters={
                key: parameters.parameter_type(out, f"output '{key}' of task '{name}'")
                for key, out in outputs.parameters.items()
            },
            runs_always=scope.runs_always or spec.trigger_policy.strategy == _ALWAYS,
            conditions=self._conditions(scope, name, spec, sources),
            cacheable=spec.caching_options.enable_cache,
            cache_key=spec.caching_options.cache_key,
            retry=_retry(spec),
        )

    def _conditions(
        self, scope: _Scope, name: str, spec: pb.PipelineTaskSpec, sources: Mapping[str, ParameterSource]
    ) -> tuple[Condition, ...]:
        """Return the conditions of the DAGs around a task, then its own."""
        text = spec.trigger_policy.condition
        if not text:
            return scope.conditions
        own = Condition(
            text=text,
            expression=parse_condition(text),
            parameters=sources,
            artifacts=self._artifacts(scope, name, spec),
        )
        return (*scope.conditions, own)

    def _dependencies(self, scope: _Scope, name: str, spec: pb.PipelineTaskSpec) -> frozenset[str]:
        named = {scope.task(upstream, name) for upstream in spec.dependent_tasks}
        for source in spec.inputs.parameters.values():
            if source.WhichOneof("kind") == "task_output_parameter":
                named.add(scope.task(source.task_output_parameter.producer_task, name))
        for artifact in spec.inputs.artifacts.values():
            if artifact.WhichOneof("kind") == "task_output_artifact":
                named.add(scope.task(artifact.task_output_artifact.producer_task, name))
        # Nested DAGs are flattened: to wait for one is to wait for all of its tasks.
        return scope.depends_on.union(*(self._members(scope.dag, scope.prefix, key) for key in named))

    def _members(self, dag: pb.DagSpec, prefix: str, name: str) -> frozenset[str]:
        """Return the flat names of the task `name`, or of all tasks in it when it is a DAG."""
        component = self._component(name, dag.tasks[name])
        if component.WhichOneof("implementation") != "dag":
            return frozenset({prefix + name})
        inner = (self._members(component.dag, f"{prefix}{name}.", key) for key in component.dag.tasks)
        return frozenset().union(*inner)

    def _parameters(self, scope: _Scope, name: str, spec: pb.PipelineTaskSpec) -> dict[str, ParameterSource]:
        return {
            key: self._parameter(scope, name, key, source) for key, source in spec.inputs.parameters.items()
        }

    def _parameter(
        self, scope: _Scope, name: str, key: str, source: pb.TaskInputsSpec.InputParameterSpec
    ) -> ParameterSource:
        where = f"input '{key}' of task '{name}'"
        if source.parameter_expression_selector:
            raise Unimplemented(f"{where} selects with an expression; pass the whole parameter")
        match source.WhichOneof("kind"):
            case "runtime_value":
                return _runtime_value(source.runtime_value, scope, where)
            case "component_input_parameter":
                return _outer_parameter(scope, source.component_input_parameter, where)
            case "task_output_parameter":
                output = source.task_output_parameter
                producer = scope.task(output.producer_task, name)
                return self._output(scope, producer, output.output_parameter_key, "parameters")
            case "task_final_status":
                producer = scope.task(source.task_final_status.producer_task, name)
                return FinalStatus(of=producer, tasks=self._members(scope.dag, scope.prefix, producer))
            case _:
                raise InvalidArgument(f"{where} has no source")

    def _artifacts(self, scope: _Scope, name: str, spec: pb.PipelineTaskSpec) -> dict[str, TaskOutput]:
        found = {}
        for key, source in spec.inputs.artifacts.items():
            if source.WhichOneof("kind") == "component_input_artifact":
                outer = source.component_input_artifact
                if outer not in scope.artifacts:
                    raise InvalidArgument(
                        f"input '{key}' of task '{name}' reads '{outer}', which its DAG lacks"
                    )
                found[key] = scope.artifacts[outer]
            else:
                output = source.task_output_artifact
                producer = scope.task(output.producer_task, name)
                found[key] = self._output(scope, producer, output.output_artifact_key, "artifacts")
        return found

    def _output(self, scope: _Scope, producer: str, key: str, group: str) -> TaskOutput:
        """Return the flat output; one of a nested DAG is followed to the task that produces it."""
        component = self._component(producer, scope.dag.tasks[producer])
        if component.WhichOneof("implementation") != "dag":
            return TaskOutput(task=scope.prefix + producer, key=key)
        selected = _dag_output(component.dag, producer, key, group)
        inner = _Scope(dag=component.dag, parameters={}, prefix=f"{scope.prefix}{producer}.")
        return self._output(inner, *selected, group)


def _dag_output(dag: pb.DagSpec, producer: str, key: str, group: str) -> tuple[str, str]:
    if group == "artifacts" and len(dag.outputs.artifacts[key].artifact_selectors) == 1:
        chosen = dag.outputs.artifacts[key].artifact_selectors[0]
        return chosen.producer_subtask, chosen.output_artifact_key
    if group == "parameters" and dag.outputs.parameters[key].WhichOneof("kind") == "value_from_parameter":
        selector = dag.outputs.parameters[key].value_from_parameter
        return selector.producer_subtask, selector.output_parameter_key
    raise Unimplemented(f"output '{key}' of DAG '{producer}' does not come from exactly one task")


def _definitions(name: str, component: pb.ComponentSpec) -> dict[str, ParameterDefinition]:
    return {
        key: parameters.definition(spec, f"input '{key}' of task '{name}'")
        for key, spec in component.input_definitions.parameters.items()
    }


def _defaults(
    definitions: Mapping[str, ParameterDefinition], given: Mapping[str, ParameterSource]
) -> dict[str, ParameterSource]:
    return {
        key: Constant(value=declared.default)
        for key, declared in definitions.items()
        if key not in given and declared.default is not None
    }


def _runtime_value(message: pb.ValueOrRuntimeParameter, scope: _Scope, where: str) -> ParameterSource:
    if message.WhichOneof("value") == "runtime_parameter":
        return _outer_parameter(scope, message.runtime_parameter, where)
    value = parameters.constant(message)
    if not isinstance(value, str) or "{{$" not in value:
        return Constant(value=value)
    template = parse_template(value)
    for placeholder in template.placeholders:
        if placeholder.kind not in _IN_CONSTANTS:
            raise InvalidArgument(
                f"{where} holds '{placeholder.text}', which has no value before the task runs"
            )
    return Embedded(template=template)


def _outer_parameter(scope: _Scope, name: str, where: str) -> ParameterSource:
    if name not in scope.parameters:
        raise InvalidArgument(
            f"{where} reads parameter '{name}', which the pipeline lacks; it has {sorted(scope.parameters)}"
        )
    return scope.parameters[name]


def _retry(spec: pb.PipelineTaskSpec) -> RetryPolicy:
    policy = spec.retry_policy
    if policy.max_retry_count < 0:
        raise InvalidArgument(
            f"task '{spec.task_info.name}' has maxRetryCount {policy.max_retry_count}; use 0 or more"
        )
    # In proto3 an unset number is 0; the defaults are those that pipeline_spec.proto documents.
    return RetryPolicy(
        max_retries=policy.max_retry_count,
        backoff=policy.backoff_duration.ToTimedelta().total_seconds(),
        factor=policy.backoff_factor or 2.0,
        max_backoff=policy.backoff_max_duration.ToTimedelta().total_seconds() or 3600.0,
    )
