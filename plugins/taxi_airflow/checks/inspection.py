"""All checks, in the order in which they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taxi_airflow.checks import storage_checks, vertex_checks
from taxi_airflow.checks.findings import Finding, Outcome, failure
from taxi_ml.settings import Check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from taxi_airflow.checks.clients import Subject

CHECKS: Mapping[Check, Callable[[Subject], Iterator[Finding]]] = {
    Check.IDENTITY: vertex_checks.identity,
    Check.MACHINES: vertex_checks.machines,
    Check.DATAFLOW: vertex_checks.dataflow,
    Check.IMAGE: vertex_checks.pipeline_image,
    Check.BUCKET: storage_checks.bucket,
    Check.DATASET: storage_checks.dataset,
    Check.TRIPS: storage_checks.trips,
    Check.QUERIES: storage_checks.queries,
}


def inspect(subject: Subject) -> list[Finding]:
    """Return what every check finds: none stops another, and an error is a finding."""
    return [finding for check in CHECKS for finding in _findings(check, subject)]


def _findings(check: Check, subject: Subject) -> list[Finding]:
    if check in subject.settings.preflight_skip:
        return [Finding(outcome=Outcome.SKIPPED, subject=check, text="TAXI_PREFLIGHT_SKIP names it")]
    try:
        return list(CHECKS[check](subject))
    except Exception as error:  # noqa: BLE001  # whatever a service or client raises is what was found
        return [failure(check, error)]
