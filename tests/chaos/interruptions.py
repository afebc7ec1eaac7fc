"""Interruptions of a promotion by a person, and the models that must still serve afterwards."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from local_gcp.airflow_client import RunState
from tests.chaos.checks import unpromoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from local_gcp.airflow_client import AirflowClient
    from tests.chaos.cloud import Cloud

_GROUP: Final = "promote."
_STEPS: Final = ("deploy", "smoke_predict", "shift_traffic")
_BEGUN: Final = frozenset({"running", "deferred", "success"})
_RUN_SECONDS: Final = 1500
_LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """An action of a person, and the violations afterwards, one line each."""

    deed: str
    violations: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user of Airflow's UI; `dice` decides when they click."""

    airflow: AirflowClient
    cloud: Cloud
    dice: Random
    dag_id: str

    def clears_promotion(self, run_id: str) -> Interruption:
        """Clear the promotion of a run whose model serves: nothing may change."""
        before = self._serving()
        tasks = [each.task_id for each in self.airflow.task_instances(self.dag_id, run_id)]
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": [task for task in tasks if task.startswith(_GROUP)],
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self.airflow.call("POST", f"dags/{self.dag_id}/clearTaskInstances", body)
        state = self._await_end(run_id)
        wrong = [] if state == RunState.SUCCESS else [f"the run is {state}"]
        return Interruption(
            deed=f"cleared the promotion of {run_id}",
            violations=[*wrong, *unpromoted(before, self._serving(), before)],
        )

    def ends_promotion(self, conf: Mapping[str, Any]) -> Interruption:
        """Mark a run failed during its promotion: either the old model has all traffic or the new one."""
        before = self._serving()
        run_id = self.airflow.trigger(self.dag_id, {**conf, **self._override()})
        step = self.dice.choice(_STEPS)
        self._await(lambda: self._ended(run_id) or self._state(run_id, step) in _BEGUN)
        artifact = str(self.airflow.xcom(self.dag_id, run_id, "gate")["challenger"])
        self.airflow.call("PATCH", f"dags/{self.dag_id}/dagRuns/{run_id}", {"state": "failed"})
        self._await_end(run_id)
        self._await(lambda: not unpromoted(before, self._serving(), {artifact: 100}), seconds=120)
        return Interruption(
            deed=f"marked {run_id} failed in {step}",
            violations=[
                *unpromoted(before, self._serving(), {artifact: 100}),
                *(f"operation {name} is not done" for name in self.cloud.unfinished_operations()),
            ],
        )

    def _override(self) -> dict[str, Any]:
        """Return the form's fields that make a run promote, whatever the gate decides."""
        params = self.airflow.call("GET", f"dags/{self.dag_id}/details")["params"]
        codes = params["override_codes"]["schema"]["items"]["enum"]
        return {"override_codes": codes, "override_reason": "chaos"}

    def _serving(self) -> dict[str, int]:
        """Return the traffic share by artifact, 0 for a model deployed without traffic."""
        return {
            artifact: each.split.get(deployed, 0)
            for each in self.cloud.endpoints()
            for deployed, artifact in each.artifacts.items()
        }

    def _state(self, run_id: str, step: str) -> str | None:
        tasks = self.airflow.task_instances(self.dag_id, run_id)
        return next((each.state for each in tasks if each.task_id == f"{_GROUP}{step}"), None)

    def _ended(self, run_id: str) -> bool:
        return self.airflow.run_state(self.dag_id, run_id) in frozenset(RunState)

    def _await_end(self, run_id: str) -> str:
        self._await(lambda: self._ended(run_id))
        return self.airflow.run_state(self.dag_id, run_id)

    def _await(self, holds: Callable[[], bool], *, seconds: float = _RUN_SECONDS) -> None:
        """Wait until a condition holds or time is up; the caller checks which."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not holds():
            time.sleep(_LOOK_SECONDS)
