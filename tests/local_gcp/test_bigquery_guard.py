"""The guard of BigQuery: who may send, and which files SQL reaches."""

from __future__ import annotations

import io
import json
import uuid
from typing import TYPE_CHECKING

import pytest
from google.api_core.exceptions import GoogleAPICallError
from google.cloud import bigquery

from local_gcp.layout import BUCKET, PROJECT
from local_gcp.sql_guard import REFUSED_FUNCTIONS
from tests.local_gcp.raw_http import send

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local_stack import LocalStack

pytestmark = pytest.mark.stack

QUERIES = f"POST /bigquery/v2/projects/{PROJECT}/queries"
JOBS = f"POST /bigquery/v2/projects/{PROJECT}/jobs"
JSON = {"Content-Type": "application/json"}
ROWS = "x,y\n1,a\n2,b\n"


@pytest.fixture(scope="module")
def client(stack: LocalStack) -> bigquery.Client:
    """A client of the project with a dataset for tests."""
    client = stack.bigquery_client()
    client.create_dataset("guarded", exists_ok=True)
    return client


@pytest.fixture
def url(stack: LocalStack) -> str:
    """The URL of BigQuery."""
    return stack.environment["BIGQUERY_EMULATOR_HOST"]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside of the folders that BigQuery works in."""
    file = tmp_path / "secret.csv"
    file.write_text(ROWS)
    return file


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT content FROM read_text('{file}')",
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM '{file}'",
        "SELECT content FROM read_text('{state}/gcs/../stack.json')",
        "COPY (SELECT 1) TO '{folder}/written.csv'",
        "COPY (SELECT 1) TO '{state}/gcs/../written.csv'",
        "ATTACH '{folder}/written.duckdb'",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "SET allowed_directories = ['/']",
        "INSTALL httpfs",
        "LOAD '{folder}/harm.duckdb_extension'",
        "EXPORT DATA OPTIONS (uri='gs://{bucket}/../../written*.csv', format='CSV') AS SELECT 1 AS x",
        "EXPORT DATA OPTIONS (uri='file://{folder}/written*.csv', format='CSV') AS SELECT 1 AS x",
    ],
)
def test_sql_stays_in_its_folders(stack: LocalStack, client: bigquery.Client, secret: Path, sql: str) -> None:
    """SQL neither reads nor writes a file that is not an object, and cannot change that."""
    words = {"file": secret, "folder": secret.parent, "state": stack.layout.state, "bucket": BUCKET}
    with pytest.raises(GoogleAPICallError):
        client.query(sql.format(**words), job_retry=None).result(retry=None, timeout=30)

    assert [file.name for file in secret.parent.iterdir()] == ["secret.csv"]
    assert list(stack.layout.state.glob("written*")) == []


# They read by DuckDB's own file system, which keeps to the folders, or read no file at all.
HARMLESS = frozenset(
    [
        "checkpoint",
        "disable_logging",
        "disable_profiling",
        "force_checkpoint",
        "generate_series",
        "glob",
        "icu_calendar_names",
        "json_each",
        "json_tree",
        "pg_timezone_names",
        "range",
        "read_avro",
        "read_blob",
        "read_csv",
        "read_csv_auto",
        "read_json",
        "read_json_auto",
        "read_json_objects",
        "read_json_objects_auto",
        "read_ndjson",
        "read_ndjson_auto",
        "read_ndjson_objects",
        "read_parquet",
        "read_text",
        "repeat",
        "repeat_row",
        "rtree_index_dump",
        "rtree_index_scan",
        "seq_scan",
        "sniff_csv",
        "st_drivers",
        "st_generatepoints",
        "summary",
        "test_all_types",
        "test_vector_types",
        "truncate_duckdb_logs",
        "unnest",
        "which_secret",
    ]
)
VRT = """<OGRVRTDataSource><OGRVRTLayer name="secret"><SrcDataSource relativeToVRT="0">{file}</SrcDataSource>
</OGRVRTLayer></OGRVRTDataSource>"""


@pytest.fixture
def pointer(stack: LocalStack, secret: Path) -> Path:
    """An object that makes GDAL, the library behind `st_read`, open a file outside of the folders."""
    name = f"{uuid.uuid4().hex}/pointer.vrt"
    stack.storage_client().bucket(BUCKET).blob(name).upload_from_string(VRT.format(file=secret))
    return stack.layout.state / "gcs" / BUCKET / name


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM st_read('{pointer}')",
        "SELECT * FROM system.main.\"ST_Read\" /* a comment */ ('{pointer}')",
        "SELECT * FROM ST_Read_Meta('{pointer}')",
        "SELECT * FROM query('SELECT * FROM st_' || 'read(''{pointer}'')')",
        "EXECUTE IMMEDIATE \"SELECT * FROM st_read('{pointer}')\"",
        "CREATE OR REPLACE VIEW guarded.pointer AS SELECT * FROM st_read('{pointer}')",
        "SELECT 1; COPY (SELECT 1 AS x) TO '{folder}/written.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1 AS x) TO '{folder}/written.csv'",
        "IMPORT DATABASE '{folder}'",
        "ATTACH '{folder}/written.duckdb'",
    ],
)
def test_nothing_leads_elsewhere_from_within(client: bigquery.Client, pointer: Path, sql: str) -> None:
    """DuckDB's features beyond GoogleSQL cannot leave the folders, or write files beside objects."""
    with pytest.raises(GoogleAPICallError):
        client.query(sql.format(pointer=pointer, folder=pointer.parent), job_retry=None).result(
            retry=None, timeout=30
        )

    assert [file.name for file in pointer.parent.iterdir()] == ["pointer.vrt"]


def test_every_table_function_was_looked_at(client: bigquery.Client) -> None:
    """A newer DuckDB with an additional function, which might open files by itself, fails here first."""
    found = client.query(
        "SELECT DISTINCT lower(function_name) AS f FROM duckdb_functions() WHERE function_type = 'table'"
    )
    unknown = {row.f for row in found} - REFUSED_FUNCTIONS - HARMLESS

    assert {name for name in unknown if not name.startswith(("duckdb_", "pragma_", "parquet_"))} == set()


def test_jobs_stay_in_their_folders(client: bigquery.Client, secret: Path) -> None:
    """A load job reads no file outside of Cloud Storage, and an extract job writes none."""
    config = bigquery.LoadJobConfig(source_format="CSV", autodetect=True)
    with pytest.raises(GoogleAPICallError):
        client.load_table_from_uri(f"file://{secret}", "guarded.secret", job_config=config).result(timeout=30)
    client.query("CREATE OR REPLACE TABLE guarded.one AS SELECT 1 AS x").result()
    with pytest.raises(GoogleAPICallError):
        client.extract_table("guarded.one", f"file://{secret.parent}/written*.csv").result(timeout=30)

    assert [file.name for file in secret.parent.iterdir()] == ["secret.csv"]


@pytest.mark.parametrize("body", ["[]", "null", '{"jobReference": 5}', '{"configuration": []}'])
def test_a_job_that_is_no_object_is_refused(url: str, body: str) -> None:
    """A malformed job is 400, not a server error that clients retry."""
    status, _, answer = send(url, JOBS, JSON, body)

    assert (status, json.loads(answer)["error"]["code"]) == (400, 400)


def test_files_are_uploaded_and_objects_loaded(stack: LocalStack, client: bigquery.Client) -> None:
    """Loading from a client's file and from Cloud Storage still works."""
    config = bigquery.LoadJobConfig(source_format="CSV", autodetect=True, write_disposition="WRITE_TRUNCATE")
    client.load_table_from_file(io.BytesIO(ROWS.encode()), "guarded.file", job_config=config).result()
    blob = stack.storage_client().bucket(BUCKET).blob(f"{uuid.uuid4().hex}/rows.csv")
    blob.upload_from_string(ROWS)
    uri = f"gs://{BUCKET}/{blob.name}"
    client.load_table_from_uri(uri, "guarded.object", job_config=config).result()
    counted = client.query("SELECT (SELECT SUM(x) FROM guarded.file), (SELECT SUM(x) FROM guarded.object)")

    assert [tuple(row.values()) for row in counted.result()] == [(3, 3)]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "text/plain", "Origin": "https://evil.example"}, 403),
        ({**JSON, "Origin": "http://127.0.0.1:1"}, 403),
        ({**JSON, "Sec-Fetch-Site": "same-site"}, 403),
        ({**JSON, "Host": "rebind.evil.example"}, 403),
    ],
    ids=["type", "form", "origin", "site", "host"],
)
@pytest.mark.parametrize("request_line", [QUERIES, JOBS])
def test_pages_elsewhere_run_no_query(
    url: str, request_line: str, headers: dict[str, str], expected: int
) -> None:
    """Requests that a page of another origin can send are refused in the format of Google's errors."""
    status, answered, answer = send(url, request_line, headers, '{"query": "SELECT 1"}')

    assert (status, json.loads(answer)["error"]["code"]) == (expected, expected)
    assert [name for name in answered if name.startswith("access-control-")] == []


def test_programs_run_queries(url: str) -> None:
    """The same request as JSON, without a page behind it, is answered."""
    status, _, answer = send(url, QUERIES, JSON, '{"query": "SELECT 1", "useLegacySql": false}')

    assert (status, json.loads(answer)["jobComplete"]) == (200, True)
