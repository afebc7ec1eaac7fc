"""BigQuery of the local cloud, through Google's client."""

from __future__ import annotations

import csv
import io
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from google.api_core.exceptions import BadRequest, Conflict, GoogleAPICallError, NotFound
from google.cloud import bigquery

from demo.trips import COLUMNS
from local_gcp.layout import BUCKET, PROJECT

if TYPE_CHECKING:
    from tests.local_stack import LocalStack

pytestmark = pytest.mark.stack

TRIPS = "`bigquery-public-data.chicago_taxi_trips.taxi_trips`"


@pytest.fixture(scope="module")
def client(stack: LocalStack) -> bigquery.Client:
    """A client of the project."""
    return stack.bigquery_client()


def rows(
    client: bigquery.Client, sql: str, *parameters: bigquery.ScalarQueryParameter
) -> list[tuple[object, ...]]:
    """Run a query and return its rows as tuples."""
    config = bigquery.QueryJobConfig(query_parameters=list(parameters))
    return [tuple(row.values()) for row in client.query(sql, job_config=config).result()]


def export(uri: str, select: str) -> str:
    """Write an EXPORT DATA statement."""
    return f"EXPORT DATA OPTIONS (uri='{uri}', format='CSV', overwrite=true, header=true) AS {select}"


def fresh_folder() -> str:
    """Name an unused folder of the bucket."""
    return f"exports/{uuid.uuid4().hex}"


def test_public_table_keeps_its_declared_schema(client: bigquery.Client) -> None:
    """The emulator answers the names, order and types that the loader declared."""
    fields = [(field.name, field.field_type) for field in client.get_table(TRIPS.strip("`")).schema]

    assert fields == [(column.name, column.type) for column in COLUMNS]


def test_public_table_holds_all_trips(client: bigquery.Client) -> None:
    """All trips of the package are loaded, each under a key of its own."""
    counted = rows(
        client, f"SELECT COUNT(*), COUNT(DISTINCT unique_key), MAX(LENGTH(unique_key)) FROM {TRIPS}"
    )

    assert counted == [(15002, 15002, 40)]


def test_query_with_parameters(client: bigquery.Client) -> None:
    """Named parameters of several types are bound."""
    found = rows(
        client,
        f"SELECT COUNT(*) FROM {TRIPS} "
        "WHERE trip_start_timestamp >= @start AND fare > @fare AND company = @firm",
        bigquery.ScalarQueryParameter("start", "TIMESTAMP", datetime(2015, 1, 1, tzinfo=UTC)),
        bigquery.ScalarQueryParameter("fare", "FLOAT64", 40.0),
        bigquery.ScalarQueryParameter("firm", "STRING", "Blue Ribbon Taxi Association Inc."),
    )

    assert found == [(9,)]


def test_window_function_over_a_time_range(client: bigquery.Client) -> None:
    """A RANGE window over seconds averages the rows of the week before, without the current one."""
    averages = rows(
        client,
        """
        WITH events AS (
            SELECT 0 AS second, 10.0 AS value
            UNION ALL SELECT 1000, 20.0
            UNION ALL SELECT 604801, 40.0
        )
        SELECT AVG(value) OVER (ORDER BY second RANGE BETWEEN 604800 PRECEDING AND 1 PRECEDING)
        FROM events
        ORDER BY second
        """,
    )

    assert averages == [(None,), (10.0,), (20.0,)]


def test_export_becomes_objects(stack: LocalStack, client: bigquery.Client) -> None:
    """The storage client lists and downloads the files of EXPORT DATA with their checksums."""
    folder = fresh_folder()
    client.query(
        export(f"gs://{BUCKET}/{folder}/trips_*.csv", f"SELECT unique_key, fare FROM {TRIPS}")
    ).result()
    (blob,) = stack.storage_client().list_blobs(BUCKET, prefix=folder)
    lines = list(csv.reader(io.StringIO(blob.download_as_text())))

    assert (blob.name, lines[0], len(lines)) == (
        f"{folder}/trips_000000000000.csv",
        ["unique_key", "fare"],
        15003,
    )


def test_export_overwrites_an_object(stack: LocalStack, client: bigquery.Client) -> None:
    """A second export to the same URI replaces the object: new content, new generation."""
    folder = fresh_folder()
    bucket = stack.storage_client().bucket(BUCKET)
    generations, contents = [], []
    for value in (1, 2):
        client.query(export(f"gs://{BUCKET}/{folder}/*.csv", f"SELECT {value} AS x")).result()
        blob = bucket.get_blob(f"{folder}/000000000000.csv")
        generations.append(blob.generation)
        contents.append(blob.download_as_text())

    assert contents == ["x\n1\n", "x\n2\n"]
    assert generations[0] < generations[1]


def test_export_to_a_missing_bucket_fails(stack: LocalStack, client: bigquery.Client) -> None:
    """EXPORT DATA makes no bucket: a missing one is NotFound."""
    with pytest.raises(NotFound, match="Bucket no-such-bucket"):
        client.query(export("gs://no-such-bucket/x_*.csv", "SELECT 1 AS x")).result()

    assert not stack.storage_client().bucket("no-such-bucket").exists()


def test_export_without_wildcard_fails(client: bigquery.Client) -> None:
    """EXPORT DATA needs a wildcard in its URI."""
    with pytest.raises(BadRequest, match="wild card"):
        client.query(export(f"gs://{BUCKET}/x.csv", "SELECT 1 AS x")).result()


def test_failed_export_leaves_no_file(stack: LocalStack, client: bigquery.Client) -> None:
    """An export whose query fails leaves nothing in the bucket."""
    folder = fresh_folder()
    with pytest.raises(GoogleAPICallError):
        client.query(
            export(f"gs://{BUCKET}/{folder}/*.csv", "SELECT no_such_column FROM (SELECT 1 AS x)")
        ).result()

    assert list(stack.storage_client().list_blobs(BUCKET, prefix=folder)) == []


def test_extract_job_becomes_an_object(stack: LocalStack, client: bigquery.Client) -> None:
    """An extract job writes an object too."""
    folder = fresh_folder()
    client.extract_table(TRIPS.strip("`"), f"gs://{BUCKET}/{folder}/*.csv").result(timeout=30)
    names = [blob.name for blob in stack.storage_client().list_blobs(BUCKET, prefix=folder)]

    assert names == [f"{folder}/000000000000.csv"]


def test_job_id_can_be_used_once(client: bigquery.Client) -> None:
    """A second job with the id of a finished one is a conflict, and the first can be fetched."""
    job_id = f"job_{uuid.uuid4().hex}"
    client.query("SELECT 1", job_id=job_id, job_retry=None).result()
    with pytest.raises(Conflict, match=f"Already Exists: Job {PROJECT}:US.{job_id}"):
        client.query("SELECT 2", job_id=job_id, job_retry=None)

    first = client.get_job(job_id)
    assert isinstance(first, bigquery.QueryJob)

    assert first.query == "SELECT 1"


def test_id_of_a_failed_job_is_used_up(client: bigquery.Client) -> None:
    """The id of a job that failed cannot be used again."""
    job_id = f"job_{uuid.uuid4().hex}"
    with pytest.raises(BadRequest):
        client.query("SELECT no_such_column FROM (SELECT 1 AS x)", job_id=job_id, job_retry=None).result()

    with pytest.raises(Conflict):
        client.query("SELECT 1", job_id=job_id, job_retry=None)


def test_job_keeps_its_labels(client: bigquery.Client) -> None:
    """The labels of a job are there when it is fetched again."""
    job = client.query("SELECT 1", job_config=bigquery.QueryJobConfig(labels={"dag": "taxi"}))
    job.result()
    fetched = client.get_job(job.job_id)
    assert isinstance(fetched, bigquery.QueryJob)

    assert fetched.labels == {"dag": "taxi"}


def test_what_the_emulator_cannot_do_fails_at_once(client: bigquery.Client) -> None:
    """A job that breaks the emulator is a client error, which no client retries."""
    with pytest.raises(BadRequest, match="The local BigQuery cannot run this job"):
        client.extract_table("no_such.table", f"gs://{BUCKET}/{fresh_folder()}/*.csv").result(timeout=30)


def test_columns_keep_their_case(stack: LocalStack, client: bigquery.Client) -> None:
    """Names of columns are spelled as in the SQL: in the table, in a result and in an exported file."""
    folder = fresh_folder()
    client.create_dataset("cases", exists_ok=True)
    client.query("CREATE OR REPLACE TABLE cases.trips AS SELECT 1 AS TripStartYear").result()
    client.query(
        export(f"gs://{BUCKET}/{folder}/*.csv", "SELECT tripstartyear AS RawDistance FROM cases.trips")
    ).result()
    table = [field.name for field in client.get_table("cases.trips").schema]
    result = [field.name for field in client.query("SELECT TripStartYear FROM cases.trips").result().schema]
    (blob,) = stack.storage_client().list_blobs(BUCKET, prefix=folder)

    assert (table, result, blob.download_as_text()) == (
        ["TripStartYear"],
        ["TripStartYear"],
        "RawDistance\n1\n",
    )


def test_same_job_id_in_two_projects(stack: LocalStack) -> None:
    """A job id belongs to a project."""
    job_id = f"job_{uuid.uuid4().hex}"
    found = []
    for project in ("project-a", "project-b"):
        job = stack.bigquery_client(project).query("SELECT 1", job_id=job_id, job_retry=None)
        found.append(next(iter(job.result()))[0])

    assert found == [1, 1]


def test_dry_run_uses_no_job_id(client: bigquery.Client) -> None:
    """After a dry run its job id is still free."""
    job_id = f"job_{uuid.uuid4().hex}"
    client.query("SELECT 1", job_id=job_id, job_retry=None, job_config=bigquery.QueryJobConfig(dry_run=True))
    client.query("SELECT 1", job_id=job_id, job_retry=None).result()

    assert client.get_job(job_id).state == "DONE"


def test_create_table_in_a_new_dataset(client: bigquery.Client) -> None:
    """CREATE TABLE AS in a dataset of the project reads the public table of another project."""
    client.create_dataset("made_here", exists_ok=True)
    client.query(
        f"CREATE OR REPLACE TABLE made_here.areas AS "
        f"SELECT pickup_community_area AS area, COUNT(*) AS trips FROM {TRIPS} GROUP BY area"
    ).result()

    assert rows(client, "SELECT SUM(trips) FROM made_here.areas") == [(15002,)]


def test_distance_between_coordinates(client: bigquery.Client) -> None:
    """ST_DISTANCE answers in meters; a degree of latitude is 111 km."""
    ((metres,),) = rows(client, "SELECT ST_DISTANCE(ST_GEOGPOINT(-87.6, 41.0), ST_GEOGPOINT(-87.6, 42.0))")

    assert metres == pytest.approx(111_195, rel=0.005)


def test_export_keeps_the_case_of_column_names(stack: LocalStack, client: bigquery.Client) -> None:
    """A header has the columns' names as the query writes them, whatever functions it calls."""
    folder = fresh_folder()
    select = "SELECT FORMAT('%.2f', fare) AS TripFare, FARM_FINGERPRINT(unique_key) AS TripHash"
    client.query(export(f"gs://{BUCKET}/{folder}/trips_*.csv", f"{select} FROM {TRIPS} LIMIT 1")).result()
    (blob,) = stack.storage_client().bucket(BUCKET).list_blobs(prefix=folder)

    assert blob.download_as_text().splitlines()[0] == "TripFare,TripHash"


def test_query_may_spell_a_column_in_two_ways(client: bigquery.Client) -> None:
    """Column names are the same in any case, as in GoogleSQL."""
    assert rows(client, f"SELECT COUNT(FORMAT('%.2f', FARE)) - COUNT(fare) FROM {TRIPS}") == [(0,)]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (f"SELECT trip_seconds FROM {TRIPS}", "SELECT 8 * COUNT(trip_seconds) FROM {0}"),
        (
            f"CREATE TABLE taxi.copy AS WITH t AS (SELECT unique_key AS k FROM {TRIPS}) SELECT t.* FROM t",
            "SELECT SUM(2 + BYTE_LENGTH(unique_key)) FROM {0}",
        ),
        ("SELECT 1", "SELECT 0"),
    ],
)
def test_a_dry_run_says_what_would_be_read(client: bigquery.Client, sql: str, expected: str) -> None:
    """The named columns of a table count, each with its size, and nothing is written."""
    config = bigquery.QueryJobConfig(dry_run=True)

    job = client.query(sql, job_config=config, job_retry=None)

    assert job.total_bytes_processed == rows(client, expected.format(TRIPS))[0][0]


def test_a_dry_run_does_not_run_the_query(client: bigquery.Client) -> None:
    """A query that would take hours is priced while a client waits for it."""
    numbers = "UNNEST(GENERATE_ARRAY(1, 1000000))"
    sql = f"SELECT a, b FROM {numbers} AS a CROSS JOIN {numbers} AS b WHERE MOD(a * b, 7) = 3 -- every pair"

    job = client.query(sql, job_config=bigquery.QueryJobConfig(dry_run=True), job_retry=None, timeout=20)

    assert job.total_bytes_processed == 0


def test_a_star_reads_the_whole_table(client: bigquery.Client) -> None:
    """A star directly over a table reads all of its columns."""
    config = bigquery.QueryJobConfig(dry_run=True)

    read = [
        client.query(f"SELECT {what} FROM {TRIPS}", job_config=config, job_retry=None).total_bytes_processed
        for what in ("*", ", ".join(column.name for column in COLUMNS))
    ]

    assert read[0] == read[1] > 0
