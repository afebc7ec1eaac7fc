"""Decides which tasks of a plan can run now; pure."""

from __future__ import annotations

from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

from local_vertex.domain.states import (
    SATISFYING_TASK_STATES,
    TERMINAL_TASK_STATES,
    TaskState,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_vertex.plan.plan import Plan, PlannedTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Tasks to start, most urgent first, and tasks that will never run."""

    start: tuple[str, ...]
    not_triggered: tuple[str, ...]


def next_step(plan: Plan, states: Mapping[str, TaskState], *, fail_fast: bool) -> Step:
    """Return the next steps after `states`, one for each task of the plan.

    A task starts when all it depends on succeeded. It is never triggered when one of them did not, or,
    with `fail_fast`, when any task of the run failed. One with `runs_always` waits for the end of what it
    depends on, however that ended.
    """
    halted = fail_fast and TaskState.FAILED in states.values()
    waiting = [plan.tasks[name] for name, state in states.items() if state is TaskState.PENDING]
    start = [task.name for task in waiting if _can_start(task, states, halted=halted)]
    never = [task.name for task in waiting if _never_starts(task, states, halted=halted)]
    heights = chain_lengths(plan)
    return Step(
        start=tuple(sorted(start, key=lambda name: (-heights[name], name))),
        not_triggered=tuple(sorted(never)),
    )


def _can_start(task: PlannedTask, states: Mapping[str, TaskState], *, halted: bool) -> bool:
    # Exit handlers clean up: they run whatever happened, after a fail-fast failure too.
    if task.runs_always:
        return all(states[name] in TERMINAL_TASK_STATES for name in task.depends_on)
    return not halted and all(states[name] in SATISFYING_TASK_STATES for name in task.depends_on)


def _never_starts(task: PlannedTask, states: Mapping[str, TaskState], *, halted: bool) -> bool:
    if task.runs_always:
        return False
    unsatisfying = TERMINAL_TASK_STATES - SATISFYING_TASK_STATES
    return halted or any(states[name] in unsatisfying for name in task.depends_on)


def chain_lengths(plan: Plan) -> dict[str, int]:
    """Return for each task how many tasks the longest chain that begins with it has."""
    dependants: dict[str, set[str]] = {name: set() for name in plan.tasks}
    for task in plan.tasks.values():
        for upstream in task.depends_on:
            dependants[upstream].add(task.name)
    lengths: dict[str, int] = {}
    for name in TopologicalSorter(dependants).static_order():
        lengths[name] = 1 + max((lengths[after] for after in dependants[name]), default=0)
    return lengths
