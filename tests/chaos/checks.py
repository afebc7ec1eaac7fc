"""The rules that hold after a run, however often it was killed. Pure; each violation is one line."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from tests.chaos.cloud import Job, Serving

_WHOLE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """The state that one run left behind. Jobs and versions are those that were not there before it.

    `allowed` are the artifacts that any decision so far allowed to serve, `promoted` the one of this run's
    decision, empty when it allowed none.
    """

    run_state: str
    task_states: Mapping[str, str | None]
    pipeline_jobs: Sequence[Job]
    custom_jobs: Sequence[Job]
    versions: Mapping[str, str]
    endpoints: Sequence[Serving]
    allowed: Collection[str]
    promoted: str = ""
    operations: Sequence[str] = ()
    stray_files: Sequence[str] = ()
    processes: Sequence[str] = field(default_factory=tuple)


def violations(after: Aftermath) -> list[str]:
    """Return the violations, one line each."""
    return [
        *_run(after),
        *_jobs("pipeline job", after.pipeline_jobs),
        *_jobs("custom job", after.custom_jobs),
        *_versions(after),
        *(line for endpoint in after.endpoints for line in _endpoint(endpoint, after)),
        *(f"operation {name} is not done" for name in after.operations),
        *(f"file {name} is not an object" for name in after.stray_files),
        *(f"process {process} is left" for process in after.processes),
    ]


def unpromoted(before: Mapping[str, int], after: Mapping[str, int], promoted: Mapping[str, int]) -> list[str]:
    """Return the violations in the traffic after a promotion that a person interrupted, by artifact.

    It must be as before, or all of it with the new model, beside which the old one may wait to be undeployed.
    """
    serving = {artifact: share for artifact, share in after.items() if share}
    known = {*before, *promoted}
    strangers = [f"{artifact} is deployed without traffic" for artifact in after if artifact not in known]
    if dict(after) == dict(before) or serving == dict(promoted):
        return strangers
    return [f"the traffic is {dict(after)}, and was {dict(before)}", *strangers]


def _run(after: Aftermath) -> Iterator[str]:
    if after.run_state != "success":
        failed = [task for task, state in after.task_states.items() if state == "failed"]
        yield f"the run is {after.run_state}; failed: {', '.join(failed) or 'nothing'}"


def _jobs(kind: str, jobs: Sequence[Job]) -> Iterator[str]:
    ordered = sorted(jobs, key=lambda job: job.created)
    attempts = [job.attempt for job in ordered]
    if attempts != list(range(len(ordered))):
        yield f"the {kind}s have attempts {attempts}"
    succeeded = [job.name for job in ordered if job.state == "SUCCEEDED"]
    if len(succeeded) > 1:
        yield f"{len(succeeded)} {kind}s succeeded: {', '.join(succeeded)}"
    yield from (f"{kind} {job.name} is {job.state}" for job in ordered if not job.ended)
    for job, following in pairwise(ordered):
        if job.end is None or job.end > following.created:
            yield f"{kind} {following.name} was created while {job.name} was still active"


def _versions(after: Aftermath) -> Iterator[str]:
    if len(after.versions) > 1:
        yield f"{len(after.versions)} model versions: {', '.join(after.versions)}"
    yield from (
        f"model version {name} holds {artifact}, which the gate did not allow"
        for name, artifact in after.versions.items()
        if artifact not in after.allowed
    )


def _endpoint(endpoint: Serving, after: Aftermath) -> Iterator[str]:
    total = sum(endpoint.split.values())
    if total != _WHOLE and (endpoint.split or endpoint.artifacts):
        yield f"the endpoint's traffic sums to {total}: {dict(endpoint.split)}"
    for deployed, artifact in endpoint.artifacts.items():
        if artifact not in after.allowed:
            yield f"deployed model {deployed} serves {artifact}, which the gate did not allow"
    if len(endpoint.artifacts) > 1:
        yield f"{len(endpoint.artifacts)} models are deployed: {', '.join(endpoint.artifacts)}"
    if after.promoted and set(endpoint.artifacts.values()) != {after.promoted}:
        yield f"the promoted {after.promoted} does not serve alone"
