"""Real taxi trips of Chicago, loaded from the installed TFX package into BigQuery's public table.

The package ships 15,002 trips of the City of Chicago in its own format. They are converted to the columns and
types of ``bigquery-public-data.chicago_taxi_trips.taxi_trips``. Columns that the package lacks are NULL: the
taxi, tolls, extras and the total, which includes them. Times are local wall clock stored as UTC, as in the
public table.
"""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from local_gcp.errors import MissingToolError, ServiceFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from local_gcp.services import Setting

PROJECT: Final = "bigquery-public-data"
DATASET: Final = "chicago_taxi_trips"
TABLE: Final = "taxi_trips"

_CSV: Final = "examples/chicago_taxi_pipeline/data/simple/data.csv"
_FIND_TFX: Final = "import importlib.util as u; s = u.find_spec('tfx'); print(s.origin if s else '')"
_QUARTER_SECONDS: Final = 900
_REQUEST_SECONDS: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the public table."""

    name: str
    type: str


# Names, order and types as BigQuery lists them for the public table.
COLUMNS: Final = tuple(
    Column(name=name, type=kind)
    for name, kind in (
        ("unique_key", "STRING"),
        ("taxi_id", "STRING"),
        ("trip_start_timestamp", "TIMESTAMP"),
        ("trip_end_timestamp", "TIMESTAMP"),
        ("trip_seconds", "INTEGER"),
        ("trip_miles", "FLOAT"),
        ("pickup_census_tract", "INTEGER"),
        ("dropoff_census_tract", "INTEGER"),
        ("pickup_community_area", "INTEGER"),
        ("dropoff_community_area", "INTEGER"),
        ("fare", "FLOAT"),
        ("tips", "FLOAT"),
        ("tolls", "FLOAT"),
        ("extras", "FLOAT"),
        ("trip_total", "FLOAT"),
        ("payment_type", "STRING"),
        ("company", "STRING"),
        ("pickup_latitude", "FLOAT"),
        ("pickup_longitude", "FLOAT"),
        ("pickup_location", "STRING"),
        ("dropoff_latitude", "FLOAT"),
        ("dropoff_longitude", "FLOAT"),
        ("dropoff_location", "STRING"),
    )
)


def fill(setting: Setting, progress: Callable[[str], None]) -> None:
    """Load the trips into a stack's BigQuery, unless it has them: `fill_bigquery` of local_gcp.toml."""
    url = setting.url("bigquery.rest")
    if is_loaded(url):
        return
    source = find_source(setting.layout.pipeline_python)
    # SQL may read files in a few folders only, and this is one of them.
    scratch = setting.layout.bigquery / "uploads"
    scratch.mkdir(exist_ok=True)
    progress(f"bigquery: loaded {load(url, source, scratch)} trips into {PROJECT}.{DATASET}.{TABLE}")


def find_source(pipeline_python: Path) -> Path:
    """Find the CSV of trips inside the pipeline environment.

    Raises:
        MissingToolError: the environment is absent or has no tfx.

    """
    remedy = "run `make setup`, which makes the pipeline environment"
    if not pipeline_python.exists():
        raise MissingToolError(f"{pipeline_python} does not exist; {remedy}")
    answer = subprocess.run(
        [str(pipeline_python), "-c", _FIND_TFX], capture_output=True, text=True, check=False
    )
    if answer.returncode or not answer.stdout.strip():
        raise MissingToolError(f"{pipeline_python} finds no tfx ({answer.stderr.strip()[-200:]}); {remedy}")
    return Path(answer.stdout.strip()).parent / _CSV


def public_rows(source: Path) -> Iterator[dict[str, str]]:
    """Read the package's CSV as rows of the public table; an empty string is NULL."""
    with source.open(newline="") as stream:
        for row in csv.DictReader(stream):
            yield _public_row(row)


def write_public_csv(source: Path, target: Path) -> int:
    """Write the public table's rows as a CSV with header; return their number."""
    with target.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [column.name for column in COLUMNS])
        writer.writeheader()
        count = 0
        for row in public_rows(source):
            writer.writerow(row)
            count += 1
    return count


def is_loaded(bigquery_url: str) -> bool:
    """Return True if the public table has rows."""
    table = _request(bigquery_url, "GET", f"datasets/{DATASET}/tables/{TABLE}", accept=404)
    return table is not None and int(table.get("numRows") or 0) > 0


def load(bigquery_url: str, source: Path, scratch: Path) -> int:
    """Replace the rows of the public table with the trips of ``source``; return the number of rows.

    ``scratch`` is a folder for the file that the load job reads; the file is removed.
    """
    rows_file = scratch / "taxi_trips.csv"
    try:
        count = write_public_csv(source, rows_file)
        dataset = {"datasetReference": {"projectId": PROJECT, "datasetId": DATASET}, "location": "US"}
        _request(bigquery_url, "POST", "datasets", dataset, accept=409)
        fields = [{"name": column.name, "type": column.type, "mode": "NULLABLE"} for column in COLUMNS]
        table = {"tableReference": _table_reference(), "schema": {"fields": fields}}
        _request(bigquery_url, "POST", f"datasets/{DATASET}/tables", table, accept=409)
        _run_load_job(bigquery_url, rows_file)
    finally:
        rows_file.unlink(missing_ok=True)
    return count


def _public_row(row: Mapping[str, str]) -> dict[str, str]:
    start = int(row["trip_start_timestamp"])
    copied = {column.name: row.get(column.name, "") for column in COLUMNS}
    return copied | {
        "unique_key": hashlib.sha1("|".join(row.values()).encode(), usedforsecurity=False).hexdigest(),
        "trip_start_timestamp": _timestamp(start),
        "trip_end_timestamp": _end(start, row["trip_seconds"]),
        "pickup_location": _point(row["pickup_longitude"], row["pickup_latitude"]),
        "dropoff_location": _point(row["dropoff_longitude"], row["dropoff_latitude"]),
    }


def _end(start: int, seconds: str) -> str:
    """Return the end of a trip, rounded to the nearest quarter of an hour as in the public table."""
    if not seconds:
        return ""
    quarters = (start + int(seconds) + _QUARTER_SECONDS // 2) // _QUARTER_SECONDS
    return _timestamp(quarters * _QUARTER_SECONDS)


def _timestamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(sep=" ")


def _point(longitude: str, latitude: str) -> str:
    return f"POINT ({longitude} {latitude})" if longitude and latitude else ""


def _run_load_job(url: str, rows_file: Path) -> None:
    configuration = {
        "sourceUris": [rows_file.as_uri()],
        "sourceFormat": "CSV",
        "skipLeadingRows": 1,
        "destinationTable": _table_reference(),
        "writeDisposition": "WRITE_TRUNCATE",
    }
    job = _request(url, "POST", "jobs", {"configuration": {"load": configuration}}) or {}
    if error := job.get("status", {}).get("errorResult"):
        raise ServiceFailedError(f"bigquery: loading the taxi trips failed: {error['message']}")


def _table_reference() -> dict[str, str]:
    return {"projectId": PROJECT, "datasetId": DATASET, "tableId": TABLE}


def _request(
    url: str, method: str, path: str, body: object = None, *, accept: int | None = None
) -> dict[str, Any] | None:
    """Call BigQuery's REST API; return None if it answers with the error status ``accept``."""
    request = urllib.request.Request(  # noqa: S310  # the stack's own loopback URL
        f"{url}/bigquery/v2/projects/{PROJECT}/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_REQUEST_SECONDS) as response:  # noqa: S310
            answer: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        if error.code == accept:
            return None
        raise ServiceFailedError(
            f"bigquery: {method} {path} answered {error.code}: {error.read()[:300]!r}"
        ) from error
    return answer
