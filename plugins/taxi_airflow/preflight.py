"""The command `python -m taxi_airflow.preflight`: check what a run needs, and say what to fix."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from taxi_airflow.checks import Subject, inspect
from taxi_airflow.findings import failure, ok, problem, table
from taxi_airflow.months import choose
from taxi_airflow.runs import CONNECTION
from taxi_ml.gate.policy import PolicyError
from taxi_ml.gate.policy import load as load_policy
from taxi_ml.rules import SettingsError
from taxi_ml.settings import AUTO_MONTHS, Settings
from taxi_ml.sizing import caps_too_low

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taxi_airflow.findings import Finding


def main(arguments: Sequence[str] | None = None) -> int:
    """Check; return 0 if a run can start, else 1."""
    parser = argparse.ArgumentParser(prog="python -m taxi_airflow.preflight", description=__doc__)
    parser.add_argument("--window-end", default="", help="default: the first of this month")
    parser.add_argument("--connection", default=CONNECTION, help="Airflow connection (%(default)s)")
    chosen = parser.parse_args(arguments)
    logging.disable(logging.INFO)
    findings = look(os.environ, window_end=chosen.window_end, gcp_conn_id=chosen.connection)
    sys.stdout.write(f"{table(findings)}\n")
    failed = sum(finding.failed for finding in findings)
    sys.stdout.write(f"\n{failed} to fix before a run can start\n" if failed else "\nA run can start\n")
    return 1 if failed else 0


def look(environ: Mapping[str, str], *, window_end: str = "", gcp_conn_id: str = CONNECTION) -> list[Finding]:
    """Return the findings for the settings of `environ`; with wrong settings nothing else is checked."""
    try:
        settings = Settings.from_environment(environ)
        window = settings.window(window_end or datetime.now(UTC).date().replace(day=1))
        subject = Subject(settings=settings, window=window, gcp_conn_id=gcp_conn_id)
        caps = [problem("settings", each, "") for each in caps_too_low(settings, load_policy().min_rows)]
    except (SettingsError, PolicyError) as error:
        problems = getattr(error, "problems", (str(error),))
        return [problem("settings", each, "then run this again") for each in problems]
    chosen = []
    if settings.test_months == AUTO_MONTHS:
        subject, finding = _with_test_months(subject)
        chosen = [finding]
    found = ok(
        "settings", f"project {settings.project}, region {settings.region}, window {subject.window.id}"
    )
    return [found, *chosen, *caps, *inspect(subject)]


def _with_test_months(subject: Subject) -> tuple[Subject, Finding]:
    """Choose the test months as a run does; one month if that fails, so that everything else is checked."""
    try:
        choice = choose(subject)
    except Exception as error:  # noqa: BLE001  # whatever a service or client raises is what was found
        return subject, failure("test_months", error)
    window = subject.window.with_test_months(choice.months)
    return replace(subject, window=window), ok("test_months", choice.describe())


if __name__ == "__main__":
    sys.exit(main())
