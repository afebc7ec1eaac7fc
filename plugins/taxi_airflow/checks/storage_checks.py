"""The checks of where things lie: the bucket, the dataset and the table of trips, and that they fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taxi_airflow.checks.clients import CALL_TIMEOUT
from taxi_airflow.checks.findings import ok, problem
from taxi_ml.locations import can_export, is_near
from taxi_ml.sql import columns, scans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taxi_airflow.checks.clients import Subject
    from taxi_airflow.checks.findings import Finding
    from taxi_ml.sql import Statement

_TIB = 2**40
_GIB = 2**30
_MIB = 2**20


def bucket(subject: Subject) -> Iterator[Finding]:
    """Look the bucket up and compare its location with BigQuery's and Vertex AI's."""
    settings = subject.settings
    name = settings.bucket.removeprefix("gs://").partition("/")[0]
    found = subject.storage.lookup_bucket(name, timeout=CALL_TIMEOUT, retry=None)
    if found is None:
        yield problem("bucket", f"gs://{name} does not exist", "create it, or mend TAXI_BUCKET")
        return
    location = found.location or ""
    if not can_export(bigquery=settings.bigquery_location, bucket=location):
        yield problem(
            "bucket",
            f"gs://{name} is in {location}, where BigQuery in {settings.bigquery_location} cannot export to",
            "use a bucket in BigQuery's location, or mend TAXI_BIGQUERY_LOCATION",
        )
    if not is_near(region=settings.region, bucket=location):
        yield problem(
            "bucket",
            f"gs://{name} is in {location}, jobs run in {settings.region}: each read would cross regions",
            f"use a bucket in {settings.region}, or mend TAXI_REGION",
        )
    yield ok("bucket", f"gs://{name} exists in {location}")


def dataset(subject: Subject) -> Iterator[Finding]:
    """Compare the dataset's location with the one that statements run in; it may not exist yet."""
    from google.api_core.exceptions import NotFound  # noqa: PLC0415  # with the client

    settings = subject.settings
    name = f"{settings.project}.{settings.dataset}"
    try:
        found = subject.bigquery.get_dataset(name, timeout=CALL_TIMEOUT, retry=None)
    except NotFound:
        yield ok("dataset", f"{name} will be made in {settings.bigquery_location}")
        return
    yield _located("dataset", name, found.location, settings.bigquery_location)


def trips(subject: Subject) -> Iterator[Finding]:
    """Look for the table that trips come from, its location and its columns."""
    name, wanted = columns.source(subject.settings)
    setting = "TAXI_SOURCE_TABLE" if subject.settings.source_table else "TAXI_TRIPS_TABLE"
    found = subject.bigquery.get_table(name, timeout=CALL_TIMEOUT, retry=None)
    missing = wanted - {field.name for field in found.schema}
    if missing:
        yield problem(
            "trips",
            f"{name} has no column {', '.join(sorted(missing))}",
            f"add them, as a view perhaps, or mend {setting}",
        )
    if found.location:
        yield _located("trips", name, found.location, subject.settings.bigquery_location)
    elif not missing:
        yield ok("trips", f"{name} has the columns that are read")


def _located(subject: str, name: str, location: str, expected: str) -> Finding:
    if location.lower() == expected.lower():
        return ok(subject, f"{name} is in {location}")
    return problem(
        subject,
        f"{name} is in {location}, statements run in {expected}",
        "mend TAXI_BIGQUERY_LOCATION, or name a table or dataset there",
    )


def queries(subject: Subject) -> Iterator[Finding]:
    """Dry-run what reads the trips, and compare its price with the budget."""
    settings = subject.settings
    total = 0
    for name, statement in scans(settings, subject.window).items():
        read = _bytes_read(subject, statement)
        total += read
        if read > settings.maximum_bytes_billed:
            yield problem(
                name,
                f"reads {_size(read)}, each query may read {_size(settings.maximum_bytes_billed)}",
                f"set TAXI_MAXIMUM_BYTES_BILLED to {read} or more, or shorten the window",
            )
    price = total / _TIB * settings.usd_per_tib
    text = f"read {_size(total)}, {price:.2f} USD at {settings.usd_per_tib:g} USD a TiB"
    if price > settings.query_budget_usd:
        yield problem(
            "queries",
            f"{text}; the budget is {settings.query_budget_usd:g} USD",
            "raise TAXI_QUERY_BUDGET_USD, or shorten the window",
        )
    else:
        yield ok("queries", f"{text}; the budget is {settings.query_budget_usd:g} USD")


def _size(number: int) -> str:
    return f"{number / _GIB:.1f} GiB" if number >= _GIB else f"{number / _MIB:.1f} MiB"


def _bytes_read(subject: Subject, statement: Statement) -> int:
    from google.cloud.bigquery import QueryJobConfig  # noqa: PLC0415  # not at parse time

    configuration = statement.job_configuration(subject.settings, {})
    # A dry run of a query over its limit is an error that does not say by how much.
    del configuration["query"]["maximumBytesBilled"]
    config = QueryJobConfig.from_api_repr(configuration)
    config.dry_run, config.use_query_cache = True, False
    job = subject.bigquery.query(
        statement.sql, job_config=config, timeout=CALL_TIMEOUT, retry=None, job_retry=None
    )
    return int(job.total_bytes_processed or 0)
