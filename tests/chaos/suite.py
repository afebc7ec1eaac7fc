"""One run of the DAG under fire: kill, bring up again, and gather what is left."""

from __future__ import annotations

import signal
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import requests

from local_gcp import pids, state
from local_gcp.airflow import login
from local_gcp.airflow_client import AirflowClient, AirflowError, RunState
from local_gcp.errors import LocalCloudError
from tests.chaos.checks import Aftermath, violations
from tests.chaos.cloud import Cloud
from tests.chaos.interruptions import Person
from tests.chaos.targets import Target, victims

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from local_gcp.layout import Layout
    from local_gcp.pids import ProcessId
    from local_gcp.stack import Stack
    from tests.chaos.targets import Victim

DAG_ID: Final = "taxi_training"
_RUN_SECONDS: Final = 1500
_SETTLE_SECONDS: Final = 90
_UNREACHABLE: Final = (AirflowError, requests.RequestException)
_PAUSE_SECONDS: Final = (1.0, 7.0)
_AGAIN: Final = 0.2
_RESTARTS: Final = 3
_ACTIVE: Final = frozenset({"running", "deferred"})

# The kills of one part that one run must survive. Airflow tries a task four times, and a job that failed
# twice fails the run: more kills would rightly end the run in failure.
_MOST: Final = {
    Target.TASK_RUNNER: 6,
    Target.TRIGGERER: 4,
    Target.SCHEDULER: 3,
    Target.API_SERVER: 4,
    Target.VERTEX: 4,
    Target.EXECUTOR: 2,
    Target.WARM_PARENT: 2,
    Target.MODEL_SERVER: 2,
}
_MOST_FOR_ONE_TASK: Final = {Target.TASK_RUNNER: 2, Target.EXECUTOR: 1}
# A task that runs without its scheduler or api-server, or whose job fails, has lost one of its four tries.
_COSTS_A_TRY: Final = frozenset({Target.TASK_RUNNER, Target.EXECUTOR, Target.SCHEDULER, Target.API_SERVER})
_MOST_TRIES_LOST: Final = 3
# Targets that seldom exist are preferred when they do.
_WEIGHTS: Final = {Target.TASK_RUNNER: 4, Target.EXECUTOR: 2, Target.MODEL_SERVER: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One SIGKILL: its time in seconds since the run began, and the tasks active then."""

    second: float
    target: Target
    pid: int
    during: str

    def __str__(self) -> str:
        """Return a line of the table."""
        return f"{self.second:7.1f}  {self.target:<12}  {self.pid:>7}  {self.during}"


@dataclass(slots=True, kw_only=True)
class RunUnderFire:
    """A run, its kills and the state that it left."""

    run_id: str
    seconds: float = 0.0
    kills: list[Kill] = field(default_factory=list)
    after: Aftermath | None = None

    @property
    def violations(self) -> list[str]:
        """The violations, one line each."""
        return violations(self.after) if self.after else ["the run was not looked at"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Before:
    """The jobs and versions that existed before a run."""

    jobs: frozenset[str]
    versions: frozenset[str]


class Chaos:
    """Kills parts of one stack while it runs the DAG; `dice` decides which and when."""

    def __init__(
        self, *, stack: Stack, layout: Layout, dice: Random, progress: Callable[[str], None]
    ) -> None:
        self._stack = stack
        self._layout = layout
        self._dice = dice
        self._progress = progress
        self._allowed: set[str] = set()
        self._condemned: set[ProcessId] = set()
        services = state.read(layout.stack_file).services
        self._airflow = AirflowClient(services["airflow-api"].urls["rest"])
        self.cloud = Cloud(services["vertex"].urls["rest"], services["gcs"].urls["rest"], layout.gcs_root)

    @property
    def person(self) -> Person:
        """A person who interrupts promotions while nothing is killed."""
        return Person(airflow=self._airflow, cloud=self.cloud, dice=self._dice, dag_id=DAG_ID)

    def run(self, conf: Mapping[str, Any], *, kills: int) -> RunUnderFire:
        """Run the DAG once with at most this many kills, and collect its aftermath."""
        self._airflow.authenticate(*login(self._layout))
        self._airflow.await_dag(DAG_ID, deadline_seconds=120)
        before = self._snapshot()
        run = RunUnderFire(run_id=self._airflow.trigger(DAG_ID, conf))
        began = time.monotonic()
        while self._goes_on(run.run_id) and time.monotonic() - began < _RUN_SECONDS:
            time.sleep(self._dice.uniform(*_PAUSE_SECONDS))
            while len(run.kills) < kills and self._strike(run, began):
                if self._dice.random() > _AGAIN:
                    break
            self._restore()
        run.seconds = time.monotonic() - began
        run.after = self._look(run.run_id, before)
        return run

    def _strike(self, run: RunUnderFire, began: float) -> bool:
        """Kill one process; return False if there was none to kill."""
        tasks = self._active_tasks(run.run_id)
        victim = self._choose(run, tasks)
        if victim is None:
            return False
        if victim.target is Target.VERTEX:
            self._condemned |= pids.members(state.read(self._layout.stack_file).services["vertex"].family)
        pids.send(victim.process, signal.SIGKILL)
        kill = Kill(
            second=time.monotonic() - began,
            target=victim.target,
            pid=victim.process.pid,
            during=_during(victim, tasks),
        )
        run.kills.append(kill)
        self._progress(str(kill))
        return True

    def _choose(self, run: RunUnderFire, tasks: Mapping[str, str]) -> Victim | None:
        """Choose a target by the dice, then one of its processes."""
        of_all = Counter(kill.target for kill in run.kills)
        of_one = Counter((kill.target, kill.during) for kill in run.kills)
        exhausted = _exhausted(run, tasks)
        found: defaultdict[Target, list[Victim]] = defaultdict(list)
        for each in victims(self._layout) if tasks else ():
            spared = of_one[each.target, _during(each, tasks)] >= _MOST_FOR_ONE_TASK.get(each.target, 99)
            spared = spared or (each.target in _COSTS_A_TRY and exhausted)
            if not spared and of_all[each.target] < _MOST[each.target]:
                found[each.target].append(each)
        if not found:
            return None
        weights = [_WEIGHTS.get(target, 1) for target in found]
        return self._dice.choice(found[self._dice.choices(list(found), weights)[0]])

    def _active_tasks(self, run_id: str) -> dict[str, str]:
        """Return name and state of the tasks that run or are deferred, by the id of the task instance."""
        path = f"dags/{DAG_ID}/dagRuns/{run_id}/taskInstances"
        try:
            found = self._airflow.call("GET", path)["task_instances"]
        except _UNREACHABLE:
            return {}
        return {
            each["id"]: f"{each['task_id']} {each['state']}" for each in found if each["state"] in _ACTIVE
        }

    def _goes_on(self, run_id: str) -> bool:
        try:
            return self._airflow.run_state(DAG_ID, run_id) not in frozenset(RunState)
        except _UNREACHABLE:
            return True

    def _restore(self) -> None:
        """Restart what died, repeatedly: a service may have been killed while it was starting."""
        for _ in range(_RESTARTS):
            try:
                self._stack.up()
            except LocalCloudError as error:
                self._progress(f"         restarting: {error}")
            else:
                return
        self._stack.up()

    def _snapshot(self) -> _Before:
        endpoints = self.cloud.endpoints()
        self._allowed |= {artifact for each in endpoints for artifact in each.artifacts.values()}
        return _Before(
            jobs=frozenset(job.name for job in (*self.cloud.pipeline_jobs(), *self.cloud.custom_jobs())),
            versions=frozenset(self.cloud.versions()),
        )

    def _look(self, run_id: str, before: _Before) -> Aftermath:
        promoted = self._promoted(run_id)
        self._allowed |= {promoted} - {""}
        until = time.monotonic() + _SETTLE_SECONDS
        # Model servers and executors need time to start again, or to end.
        while self._unwanted_processes() and time.monotonic() < until:
            time.sleep(1.0)
        versions = self.cloud.versions()
        return Aftermath(
            run_state=self._airflow.run_state(DAG_ID, run_id),
            task_states={each.task_id: each.state for each in self._airflow.task_instances(DAG_ID, run_id)},
            pipeline_jobs=[job for job in self.cloud.pipeline_jobs() if job.name not in before.jobs],
            custom_jobs=[job for job in self.cloud.custom_jobs() if job.name not in before.jobs],
            versions={name: uri for name, uri in versions.items() if name not in before.versions},
            endpoints=self.cloud.endpoints(),
            allowed=self._allowed,
            promoted=promoted,
            operations=self.cloud.unfinished_operations(),
            stray_files=self.cloud.stray_files(),
            processes=self._unwanted_processes(),
        )

    def _promoted(self, run_id: str) -> str:
        """Return the artifact that the run's decision allowed to serve; empty without such a decision."""
        try:
            decided = self._airflow.xcom(DAG_ID, run_id, "gate")
        except AirflowError:
            return ""
        decision = self.cloud.read_json(decided["decision"])
        return str(decision["challenger"]) if decision["verdict"] == "promote" else ""

    def _unwanted_processes(self) -> list[str]:
        """Return processes that should have ended: executors without a job, children of a dead Vertex AI."""
        living = [f"{each.pid} of a killed Vertex AI" for each in self._condemned if pids.is_alive(each)]
        parts = victims(self._layout)
        living += [f"{each.process.pid}, an executor" for each in parts if each.target is Target.EXECUTOR]
        servers = [each for each in parts if each.target is Target.MODEL_SERVER]
        deployed = sum(len(each.artifacts) for each in self.cloud.endpoints())
        if len(servers) != deployed:
            living.append(f"count of model servers is {len(servers)} for {deployed} deployed models, and one")
        return living


def _exhausted(run: RunUnderFire, tasks: Mapping[str, str]) -> bool:
    """Return True if an active task has only one try left."""
    lost = Counter(
        part.partition(" ")[0]
        for kill in run.kills
        if kill.target in _COSTS_A_TRY
        for part in kill.during.split(", ")
        if part.endswith(" running") or kill.target is Target.EXECUTOR
    )
    return any(lost[task.partition(" ")[0]] >= _MOST_TRIES_LOST for task in tasks.values())


def _during(victim: Victim, tasks: Mapping[str, str]) -> str:
    """Return the task that a victim works on, or else all active tasks."""
    return tasks.get(victim.work) or ", ".join(sorted(tasks.values()))
