"""Folders of runs as the DAG leaves them, for the tests of records and pages."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from taxi_ml.gate.decision import decide
from taxi_ml.window import Window
from tests.taxi_ml.reports import CHALLENGER, POLICY, a_report, metrics, with_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taxi_ml.gate.report import Report

DAG = "taxi_training"
ENDPOINT = "projects/taxi-local/locations/us-central1/endpoints/5"
NIGHT = datetime(2026, 11, 1, 3, tzinfo=UTC)


def version(number: int) -> str:
    """Return the resource name of a version."""
    return f"projects/taxi-local/locations/us-central1/models/7@{number}"


def folder_of(window: Window) -> str:
    """Return where the model of a window is served from."""
    return f"gs://taxi-local/serving/{window.id}/1"


def window(end: str, *, train: int = 24, test: int = 1) -> Window:
    """Return the window that ends on a day."""
    return Window.ending(end, train_months=train, test_months=test)


def run_json(
    of: Window, run_id: str = "", *, params: Mapping[str, Any] | None = None, dag_id: str = DAG
) -> bytes:
    """Return what a record reads of run.json, beside which there are other settings."""
    document = {
        "schema_version": 1,
        "dag_id": dag_id,
        "run_id": run_id or f"manual__{of.end}",
        "run_after": f"{of.end} 00:00:00+00:00",
        "window_end": of.end.isoformat(),
        "settings": {
            "project": "taxi-local",
            "region": "us-central1",
            "train_months": of.train_months,
            "test_months": of.test_months,
            "endpoint_name": "chicago-taxi-fare",
        },
        "params": {"promote": True, "compare": True, **(params or {})},
        "conf": {},
        "override": None,
    }
    return json.dumps(document).encode()


def report_of(of: Window, champion: Window | None, mae: float = 2.4, rmse: float = 4.4) -> Report:
    """Return the report of a window's challenger against the model of another window, if there is one."""
    report = with_metrics(a_report(with_champion=champion is not None), metrics(rmse, mae))
    report = replace(report, window=of.id, challenger=replace(report.challenger, uri=f"{CHALLENGER}/{of.id}"))
    if champion is not None and report.champion is not None:
        report = replace(report, champion=replace(report.champion, uri=folder_of(champion)))
    return report


def decided(of: Window, report: Report) -> dict[str, bytes]:
    """Return the documents of a run that the gate has judged by the tests' policy."""
    served = replace(report, challenger=replace(report.challenger, uri=folder_of(of)))
    return {
        "run.json": run_json(of),
        "report.json": report.to_json().encode(),
        "decision.json": decide(POLICY, served).to_json().encode(),
    }


def guard(name: str, observed: float | None, allowed: float | None, verdict: str, at: datetime) -> Any:  # noqa: ANN401  # JSON
    """Return a guard's reading over five minutes."""
    return {
        "guard": name,
        "observed": observed,
        "allowed": allowed,
        "from": (at - timedelta(minutes=5)).isoformat(),
        "until": at.isoformat(),
        "verdict": verdict,
    }


def rollout_json(  # noqa: PLR0913  # what a roll-out has
    number: int,
    *,
    began: datetime = NIGHT,
    percents: Sequence[int] = (10, 50, 100),
    state: str = "done",
    reason: str = "",
    guards: Sequence[Any] = (),
) -> bytes:
    """Return the roll-out of a version in steps of 15 minutes; the last one has the guards."""
    times = [began + timedelta(minutes=15 * step) for step in range(len(percents) + 1)]
    document = {
        "schema_version": 1,
        "endpoint": ENDPOINT,
        "deployed_model": "1234567890",
        "deployed_at": began.isoformat(),
        "model": version(number),
        "champion": version(number - 1) if number > 1 else None,
        "plan": [
            {"percent": percent, "bake_seconds": 900.0 if percent < 100 else 0.0} for percent in (10, 50, 100)
        ],
        "state": state,
        "reason": reason,
        "steps": [
            {
                "percent": percent,
                "began": times[step].isoformat(),
                "ended": None
                if state == "running" and step == len(percents) - 1
                else times[step + 1].isoformat(),
                "requests": 1_200 * percent // 10,
                "guards": list(guards)
                if step == len(percents) - 1 and guards
                else [
                    guard("requests", 120.0 * percent, 200, "passed", times[step + 1]),
                    guard("error_rate", 0.0, 0.01, "passed", times[step + 1]),
                    guard("latency_p95", 0.043, 0.065, "passed", times[step + 1]),
                    guard("golden", 2.1e-7, 1e-4, "passed", times[step + 1]),
                ],
            }
            for step, percent in enumerate(percents)
        ],
    }
    return json.dumps(document).encode()


def roll_back_json(number: int, at: datetime, *, by: str = "ada", reason: str = "complaints") -> bytes:
    """Return the document of a person who gave the traffic to a version."""
    document = {
        "schema_version": 1,
        "endpoint": ENDPOINT,
        "from": version(number + 1),
        "to": version(number),
        "by": by,
        "reason": reason,
        "at": at.isoformat(),
    }
    return json.dumps(document).encode()


APPROVAL = {
    "schema_version": 1,
    "answer": "approve",
    "by": "ada",
    "reason": "numbers are fine",
    "at": NIGHT.isoformat(),
}
GOLDEN = {
    "schema_version": 1,
    "deployed_model": "1234567890",
    "rows": 187,
    "largest_difference": 2.4e-7,
    "latency": {
        "challenger": {"p50": 0.021, "p95": 0.043, "requests": 187},
        "champion": {"p50": 0.02, "p95": 0.04, "requests": 187},
    },
}
