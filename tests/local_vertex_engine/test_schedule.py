from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from local_vertex.domain.states import SATISFYING_TASK_STATES, TERMINAL_TASK_STATES, TaskState
from local_vertex.plan.placeholders import parse_template
from local_vertex.plan.plan import ContainerExecutor, Exec, Plan, PlannedTask
from local_vertex.run.schedule import chain_lengths, next_step

EXECUTOR = ContainerExecutor(image="i", main=Exec(command=(parse_template("x"),)))


def plan_of(edges: dict[str, set[str]], always: frozenset[str] = frozenset()) -> Plan:
    """Return a plan in which each task depends on the named ones."""
    return Plan(
        pipeline="p",
        tasks={
            name: PlannedTask(
                name=name,
                component=name,
                executor=EXECUTOR,
                depends_on=frozenset(upstream),
                runs_always=name in always,
            )
            for name, upstream in edges.items()
        },
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Acyclic plans of up to eight tasks: each depends on earlier ones only."""
    names = [f"t{number}" for number in range(draw(st.integers(1, 8)))]
    edges = {
        name: draw(st.sets(st.sampled_from(names[:number]))) if number else set()
        for number, name in enumerate(names)
    }
    always = draw(st.frozensets(st.sampled_from(names), max_size=2))
    return plan_of(edges, always)


def run_through(
    plan: Plan, failing: set[str], *, fail_fast: bool, slots: int
) -> tuple[list[str], dict[str, TaskState]]:
    """Play a run with at most `slots` tasks at once; returns the order of starts and the final states."""
    states = dict.fromkeys(plan.tasks, TaskState.PENDING)
    started: list[str] = []
    while True:
        step = next_step(plan, states, fail_fast=fail_fast)
        states.update(dict.fromkeys(step.not_triggered, TaskState.NOT_TRIGGERED))
        chosen = step.start[:slots]
        if not chosen and not step.not_triggered:
            return started, states
        for name in chosen:
            started.append(name)
            states[name] = TaskState.FAILED if name in failing else TaskState.SUCCEEDED


@given(plan=plans(), failing=st.sets(st.integers(0, 7)), fail_fast=st.booleans(), slots=st.integers(1, 3))
def test_every_task_ends(*, plan: Plan, failing: set[int], fail_fast: bool, slots: int) -> None:
    """Whatever fails, no task is left waiting and none runs twice."""
    started, states = run_through(plan, {f"t{n}" for n in failing}, fail_fast=fail_fast, slots=slots)

    assert set(states.values()) <= TERMINAL_TASK_STATES
    assert len(started) == len(set(started))


@given(plan=plans(), failing=st.sets(st.integers(0, 7)), fail_fast=st.booleans(), slots=st.integers(1, 3))
def test_a_task_starts_after_what_it_depends_on(
    *,
    plan: Plan,
    failing: set[int],
    fail_fast: bool,
    slots: int,
) -> None:
    """A task that started had its dependencies satisfied, unless it runs always."""
    started, states = run_through(plan, {f"t{n}" for n in failing}, fail_fast=fail_fast, slots=slots)
    for name in started:
        task = plan.tasks[name]
        before = started[: started.index(name)]
        ended_well = all(up in before and states[up] in SATISFYING_TASK_STATES for up in task.depends_on)

        assert ended_well or task.runs_always


@given(plans(), st.integers(1, 3))
def test_all_tasks_run_when_none_fails(plan: Plan, slots: int) -> None:
    """Without failures every task runs."""
    started, _ = run_through(plan, set(), fail_fast=True, slots=slots)

    assert set(started) == set(plan.tasks)


def test_fail_fast_triggers_nothing_more() -> None:
    """After a failure, fail-fast starts no task, not even an independent one."""
    plan = plan_of({"a": set(), "b": set()})
    states = {"a": TaskState.FAILED, "b": TaskState.PENDING}

    assert next_step(plan, states, fail_fast=True).not_triggered == ("b",)


def test_fail_slow_goes_on_with_independent_tasks() -> None:
    """After a failure, fail-slow starts what does not depend on the failed task."""
    plan = plan_of({"a": set(), "b": set(), "c": {"a"}})
    states = {"a": TaskState.FAILED, "b": TaskState.PENDING, "c": TaskState.PENDING}
    step = next_step(plan, states, fail_fast=False)

    assert (step.start, step.not_triggered) == (("b",), ("c",))


def test_the_longest_chain_goes_first() -> None:
    """Among tasks that can start, the one with the most behind it comes first."""
    plan = plan_of({"a": set(), "b": set(), "c": {"b"}, "d": {"c"}})
    step = next_step(plan, dict.fromkeys(plan.tasks, TaskState.PENDING), fail_fast=True)

    assert step.start == ("b", "a")
    assert chain_lengths(plan) == {"a": 1, "b": 3, "c": 2, "d": 1}
