"""What a person reads about a job: the progress table and the reason for a failure. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vertex_airflow.states import JobKind, explain_final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vertex_airflow.jobs import Component, JobView

_CAUSE_LENGTH = 500
_RAISED = re.compile(r"^\s*[\w.]*(Error|Exception|Exit|Interrupt|Fault|Killed)\b\s*(:|\()")
_BROKEN = frozenset({"FAILED"})
_NEVER_RAN = frozenset({"NOT_TRIGGERED", "CANCELLED", "PENDING", "STATE_UNSPECIFIED"})


def root_cause(message: str) -> str:
    """Return the line of an error that says what went wrong.

    That is the last line that names an exception, as a traceback ends with one; else the last line that
    is not blank. At most 500 characters.
    """
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if not lines:
        return "no error message was given"
    raised = [line for line in lines if _RAISED.match(line)]
    return (raised or lines)[-1][:_CAUSE_LENGTH]


def explain(job: JobView, *, page: str) -> str:
    """Return why a job did not succeed: component, state, cause, log, page and what did not run."""
    lines = [f"{_kind(job)} {job.name.rpartition('/')[2]} {explain_final(job.state)}"]
    broken = [component for component in job.components if component.state in _BROKEN]
    for component in broken:
        lines.append(f"  component: {component.name} ({component.state})")
        lines.append(f"  cause: {root_cause(component.error or job.error)}")
        lines.append(f"  log: {component.log or page}")
    if not broken:
        lines.append(f"  state: {job.state}")
        if job.error:
            lines.append(f"  cause: {root_cause(job.error)}")
        lines.append(f"  log: {job.log or page}")
    elif job.error and not any(component.error for component in broken):
        lines.append(f"  job's error: {root_cause(job.error)}")
    never_ran = [component.name for component in job.components if component.state in _NEVER_RAN]
    if never_ran:
        lines.append(f"  not run because of it: {', '.join(never_ran)}")
    lines.append(f"  job: {page}")
    return "\n".join(lines)


def progress_table(components: Sequence[Component]) -> str:
    """Return the components of a pipeline with state, duration and cache hit, one line each."""
    if not components:
        return ""
    width = max(len("component"), *(len(component.name) for component in components))
    header = f"{'component':<{width}}  {'state':<13}  {'seconds':>7}  cache"
    return "\n".join([header, *(_row(component, width) for component in components)])


def _row(component: Component, width: int) -> str:
    seconds = "" if component.seconds is None else f"{component.seconds:.1f}"
    state = "SUCCEEDED" if component.cached else component.state
    return (
        f"{component.name:<{width}}  {state:<13}  {seconds:>7}  {'hit' if component.cached else ''}".rstrip()
    )


def _kind(job: JobView) -> str:
    return "PipelineJob" if job.kind is JobKind.PIPELINE else "CustomJob"
