"""The command `python -m taxi_airflow.preflight`: check what a run needs, say what to mend."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from taxi_airflow.checks.clients import Subject
from taxi_airflow.checks.findings import ok, problem, table
from taxi_airflow.checks.inspection import inspect
from taxi_ml.rules import SettingsError
from taxi_ml.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from taxi_airflow.checks.findings import Finding


def main(arguments: Sequence[str] | None = None) -> int:
    """Check; return 0 when a run may start, 1 when not."""
    chosen = _parser().parse_args(arguments)
    logging.disable(logging.INFO)
    findings = look(os.environ, window_end=chosen.window_end, gcp_conn_id=chosen.connection)
    sys.stdout.write(f"{table(findings)}\n")
    failed = sum(finding.failed for finding in findings)
    sys.stdout.write(f"\n{failed} to mend before a run can start\n" if failed else "\nA run can start\n")
    return 1 if failed else 0


def look(
    environ: Mapping[str, str], *, window_end: str = "", gcp_conn_id: str = "google_cloud_default"
) -> list[Finding]:
    """Return the findings for the settings of `environ`; wrong settings leave the other checks undone."""
    try:
        settings = Settings.from_environment(environ)
        window = settings.window(window_end or _first_of_month())
    except SettingsError as error:
        return [problem("settings", each, "then run this again") for each in error.problems]
    found = ok("settings", f"project {settings.project}, region {settings.region}, window {window.id}")
    return [found, *inspect(Subject(settings=settings, window=window, gcp_conn_id=gcp_conn_id))]


def _first_of_month() -> date:
    return datetime.now(UTC).date().replace(day=1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m taxi_airflow.preflight", description=__doc__)
    parser.add_argument("--window-end", default="", help="default: the first of this month")
    parser.add_argument(
        "--connection", default="google_cloud_default", help="Airflow connection (%(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
