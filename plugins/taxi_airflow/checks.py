"""The checks that preflight makes, in the order in which they are shown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from taxi_airflow.champions import Comparison, champion_of, has_saved_model
from taxi_airflow.findings import Finding, Status, failure, ok, problem
from taxi_airflow.own_tables import absent_columns
from taxi_ml import image
from taxi_ml.dataflow import BeamRunner
from taxi_ml.locations import can_export, is_near
from taxi_ml.pipeline.machines import UnknownMachineTypeError, offered_vcpus
from taxi_ml.settings import Check
from taxi_ml.sql import columns, scans
from vertex_airflow.baseline import Baseline
from vertex_airflow.images import ImageError, PrivateRegistryError, RegistryError, image_labels
from vertex_airflow.objects import ObjectStore
from vertex_airflow.polling import ErrorKind, classify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from taxi_ml.gate.reasons import ReasonCode
    from taxi_ml.settings import Settings
    from taxi_ml.sql import Statement
    from taxi_ml.window import Window
    from vertex_airflow.hooks.vertex import VertexHook

CALL_TIMEOUT = 20.0
"""Seconds that a call may take: a person waits for all checks."""
# Families that share the quota without a family in its name:
# https://cloud.google.com/vertex-ai/docs/quotas#custom-trained-models
_PLAIN_QUOTA = frozenset({"n1", "e2"})
_TIB, _GIB, _MIB = 2**40, 2**30, 2**20


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The settings and window to check, and the connection to Google Cloud.

    `baseline_uri` is where the run records what served before it, empty without a run. `accepted` are the
    reasons against a comparison that its form accepts.
    """

    settings: Settings
    window: Window
    baseline_uri: str = ""
    accepted: frozenset[ReasonCode] = frozenset()
    gcp_conn_id: str = "google_cloud_default"
    impersonation_chain: str | Sequence[str] | None = None

    @cached_property
    def vertex(self) -> VertexHook:
        """The connection as the operators for Vertex AI use it."""
        from vertex_airflow.hooks.vertex import VertexHook  # noqa: PLC0415  # 0.5 s, not at parse time

        return VertexHook(region=self.settings.region, **self._access)

    @cached_property
    def storage(self) -> Any:  # noqa: ANN401  # google-cloud-storage has no types
        """A client of Cloud Storage."""
        from airflow.providers.google.cloud.hooks.gcs import GCSHook  # noqa: PLC0415  # 1 s, not at parse time

        return GCSHook(**self._access).get_conn()

    @cached_property
    def bigquery(self) -> Any:  # noqa: ANN401  # google-cloud-bigquery has no types
        """A client of BigQuery, in the settings' project and location."""
        from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook  # noqa: PLC0415  # brings pandas

        hook = BigQueryHook(use_legacy_sql=False, **self._access)
        return hook.get_client(project_id=self.settings.project, location=self.settings.bigquery_location)

    @property
    def store(self) -> ObjectStore:
        """Cloud Storage as the operators use it."""
        return ObjectStore(**self._access)

    @property
    def _access(self) -> dict[str, Any]:
        return {"gcp_conn_id": self.gcp_conn_id, "impersonation_chain": self.impersonation_chain}


def identity(subject: Subject) -> Iterator[Finding]:
    """Request a pipeline job from Vertex AI, which needs connection, account, API and region."""
    hook = subject.vertex
    if hook.project_id and hook.project_id != subject.settings.project:
        yield problem(
            "identity",
            f"the connection's project is {hook.project_id}, TAXI_PROJECT is {subject.settings.project}",
            "set both to the same project",
        )
        return
    parent = f"projects/{subject.settings.project}/locations/{subject.settings.region}"
    # One call and one job; the answer's further pages would be a call each.
    hook.pipelines.list_pipeline_jobs({"parent": parent, "page_size": 1}, timeout=CALL_TIMEOUT, retry=None)
    account = getattr(hook.get_credentials(), "service_account_email", "") or "the connection's account"
    yield ok("identity", f"{account} reaches Vertex AI at {hook.endpoint.target}")


def machines(subject: Subject) -> Iterator[Finding]:
    """Look up the machine types, and name the quotas that they count toward."""
    settings = subject.settings
    for name, kind in (
        ("machine_type", "training"),
        ("compile_machine_type", "training"),
        ("serving_machine_type", "serving"),
    ):
        machine: str = getattr(settings, name)
        try:
            vcpus = offered_vcpus(machine)
        except UnknownMachineTypeError as error:
            yield problem(
                name,
                str(error),
                f"fix TAXI_{name.upper()}, or skip the check machines: its list may be old",
            )
            continue
        family = machine.partition("-")[0]
        middle = "" if family in _PLAIN_QUOTA else f"{family}_"
        quota = f"custom_model_{kind}_{middle}cpus"
        yield ok(name, f"{machine}: {vcpus} vCPUs of the quota {quota} in {settings.region}")


def dataflow(subject: Subject) -> Iterator[Finding]:
    """Check that Beam does not need Dataflow if the connection has no account for it."""
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415  # not at parse time

    settings = subject.settings
    runner = settings.runner
    may_choose = runner is BeamRunner.AUTO and settings.dataflow_workers > 0
    if runner is not BeamRunner.DATAFLOW and not may_choose:
        yield ok("dataflow", "not used; set TAXI_DATAFLOW_WORKERS once it is set up")
    elif isinstance(subject.vertex.get_credentials(), AnonymousCredentials):
        yield problem(
            "dataflow",
            "the connection is anonymous, and only Google runs Dataflow",
            "set TAXI_DATAFLOW_WORKERS=0 and choose no Dataflow runner, or add an account to the connection",
        )
    else:
        yield ok(
            "dataflow",
            f"in {settings.region}, {'if one machine is too small' if may_choose else 'always'}",
        )


def pipeline_image(subject: Subject) -> Iterator[Finding]:
    """Compare the labels of the image for executors, compiler and server with the code here."""
    name = subject.settings.pipeline_image
    rebuild = "build it from this code, push it and set TAXI_PIPELINE_IMAGE; make deploy does all three"
    try:
        carried = image_labels(subject.vertex, name)
        expected = image.labels()
    except ImageError as error:
        yield problem("image", str(error), "write <registry>/<project>/<repository>/<name>:<tag>")
        return
    except PrivateRegistryError as error:
        remedy = "push it to Artifact Registry, set registry_endpoint to its registry, or skip this check"
        yield problem("image", str(error), remedy)
        return
    except RegistryError as error:
        if classify(error) is not ErrorKind.MISSING:
            raise
        yield problem("image", str(error), rebuild)
        return
    except FileNotFoundError:
        yield problem("image", f"{image.LOCK} does not exist", "copy it there from the repository")
        return
    yield from _compared(name, carried, expected, rebuild)


def _compared(
    name: str, carried: Mapping[str, str], expected: Mapping[image.Label, str], rebuild: str
) -> Iterator[Finding]:
    differing = [label for label in image.Label if carried.get(label) != expected[label]]
    for label in differing:
        has = carried.get(label, "")[:12] or "missing"
        yield problem(
            "image",
            f"{name}: {label} is {has}, but the code here has {expected[label][:12]}",
            rebuild,
        )
    if not differing:
        yield ok("image", f"{name} was built from this code and this lock")


def bucket(subject: Subject) -> Iterator[Finding]:
    """Look up the bucket and compare its location with those of BigQuery and Vertex AI."""
    settings = subject.settings
    name = settings.bucket.removeprefix("gs://").partition("/")[0]
    found = subject.storage.lookup_bucket(name, timeout=CALL_TIMEOUT, retry=None)
    if found is None:
        yield problem("bucket", f"gs://{name} does not exist", "create it, or fix TAXI_BUCKET")
        return
    location = found.location or ""
    if not can_export(bigquery=settings.bigquery_location, bucket=location):
        yield problem(
            "bucket",
            f"gs://{name} is in {location}, to which BigQuery in {settings.bigquery_location} cannot export",
            "use a bucket in BigQuery's location, or fix TAXI_BIGQUERY_LOCATION",
        )
    if not is_near(region=settings.region, bucket=location):
        yield problem(
            "bucket",
            f"gs://{name} is in {location}, but jobs run in {settings.region}; reads would cross regions",
            f"use a bucket in {settings.region}, or fix TAXI_REGION",
        )
    yield ok("bucket", f"gs://{name} exists in {location}")


def dataset(subject: Subject) -> Iterator[Finding]:
    """Compare the dataset's location with the one in which statements run; it may not exist yet."""
    from google.api_core.exceptions import NotFound  # noqa: PLC0415  # with the client

    settings = subject.settings
    name = f"{settings.project}.{settings.dataset}"
    try:
        found = subject.bigquery.get_dataset(name, timeout=CALL_TIMEOUT, retry=None)
    except NotFound:
        yield ok("dataset", f"{name} will be created in {settings.bigquery_location}")
        return
    yield _located("dataset", name, found.location, settings.bigquery_location)


def trips(subject: Subject) -> Iterator[Finding]:
    """Look up the table of trips, its location and its columns; `source_table` may lack optional ones."""
    name, wanted = columns.source(subject.settings)
    setting = "TAXI_SOURCE_TABLE" if subject.settings.source_table else "TAXI_TRIPS_TABLE"
    found = subject.bigquery.get_table(name, timeout=CALL_TIMEOUT, retry=None)
    missing = wanted - {field.name for field in found.schema}
    if missing:
        yield problem(
            "trips",
            f"{name} has no column {', '.join(sorted(missing))}",
            f"add them, perhaps with a view, or fix {setting}",
        )
    if found.location:
        yield _located("trips", name, found.location, subject.settings.bigquery_location)
    elif not missing:
        yield ok("trips", f"{name} has every column that is read")


def _located(subject: str, name: str, location: str, expected: str) -> Finding:
    if location.lower() == expected.lower():
        return ok(subject, f"{name} is in {location}")
    return problem(
        subject,
        f"{name} is in {location}, but statements run in {expected}",
        "fix TAXI_BIGQUERY_LOCATION, or use a table or dataset in that location",
    )


def queries(subject: Subject) -> Iterator[Finding]:
    """Dry-run the statements that read the trips, and compare their price with the budget."""
    settings = subject.settings
    total = 0
    absent = absent_columns(subject.bigquery, settings)
    for name, statement in scans(settings, subject.window, absent=absent).items():
        read = _bytes_read(subject, statement)
        total += read
        if read > settings.maximum_bytes_billed:
            yield problem(
                name,
                f"reads {_size(read)}, but a query may read {_size(settings.maximum_bytes_billed)}",
                f"set TAXI_MAXIMUM_BYTES_BILLED to {read} or more, or shorten the window",
            )
    price = total / _TIB * settings.usd_per_tib
    text = f"{_size(total)} to read, {price:.2f} USD at {settings.usd_per_tib:g} USD a TiB"
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


def champion(subject: Subject) -> Iterator[Finding]:
    """Look up the model in production, and whether the run can be compared with it fairly."""
    recorded = bool(subject.baseline_uri) and subject.store.exists(subject.baseline_uri)
    name = subject.settings.endpoint_name
    # A run that is cleared after its promotion is compared with what served before it.
    baseline = (
        Baseline.recorded(subject.store, subject.baseline_uri)
        if recorded
        else Baseline.live(subject.vertex, name)
    )
    serving = champion_of(baseline)
    if not serving.name:
        yield ok("champion", f"no model serves on endpoint {name!r}")
        return
    found = Comparison(
        champion=serving,
        window=subject.window.id,
        endpoint_name=name,
        compared=has_saved_model(subject.store, serving),
    )
    refused = found.refusals(subject.accepted)
    for reason, remedy in refused:
        yield problem("champion", str(reason), remedy)
    if not refused:
        learned = serving.training
        until = f"was trained until {learned.until}" if learned else "does not say what it was trained on"
        yield ok("champion", f"{serving.name} {until}")


CHECKS: Mapping[Check, Callable[[Subject], Iterator[Finding]]] = {
    Check.IDENTITY: identity,
    Check.MACHINES: machines,
    Check.DATAFLOW: dataflow,
    Check.IMAGE: pipeline_image,
    Check.BUCKET: bucket,
    Check.DATASET: dataset,
    Check.TRIPS: trips,
    Check.QUERIES: queries,
    Check.CHAMPION: champion,
}


def inspect(subject: Subject) -> list[Finding]:
    """Return what every check finds; no check stops another, and an error is a finding."""
    return [finding for check in CHECKS for finding in _findings(check, subject)]


def _findings(check: Check, subject: Subject) -> list[Finding]:
    if check in subject.settings.preflight_skip:
        return [Finding(status=Status.SKIPPED, subject=check, text="listed in TAXI_PREFLIGHT_SKIP")]
    try:
        return list(CHECKS[check](subject))
    except Exception as error:  # noqa: BLE001  # whatever a service or client raises is what was found
        return [failure(check, error)]
