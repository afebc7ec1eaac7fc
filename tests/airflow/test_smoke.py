"""Instances for the smoke test, read from files of any size."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from google.cloud.storage import Blob
from pyarrow import csv, parquet

from taxi_airflow.smoke import read_trips
from taxi_ml.modules.features import INPUTS, NULLABLE_FLOATS
from tests.airflow.servers import connect_to
from vertex_airflow.objects import ObjectStore
from vertex_airflow.operators.promote import read_json_lines

if TYPE_CHECKING:
    from tests.local_stack import LocalStack

pytestmark = pytest.mark.stack
ROWS = 100_000


@pytest.fixture
def downloads(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Point the connection to the local cloud, and note the bytes of each download from there."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    connect_to(1, monkeypatch)
    sizes: list[int] = []
    download = Blob.download_as_bytes

    def noted(blob: Blob, *args: Any, **kwargs: Any) -> bytes:  # noqa: ANN401  # the library's
        content: bytes = download(blob, *args, **kwargs)
        sizes.append(len(content))
        return content

    monkeypatch.setattr(Blob, "download_as_bytes", noted)
    return sizes


def a_shard(form: str) -> bytes:
    """Return trips of random numbers, which do not compress, in one row group of many pages."""
    numbers = random.Random(1)  # noqa: S311  # test data
    columns = {
        name: [
            numbers.random() * 1e6 if name in NULLABLE_FLOATS else numbers.randrange(2**40)
            for _ in range(ROWS)
        ]
        for name in INPUTS
    }
    table, target = pa.table(columns), io.BytesIO()
    if form == "csv":
        csv.write_csv(table, target)
    else:
        parquet.write_table(
            table, target, row_group_size=ROWS, data_page_size=64 * 1024, use_dictionary=False
        )
    return target.getvalue()


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_large_shard_is_not_read_whole(downloads: list[int], form: str) -> None:
    """Three trips take a small part of a shard's bytes, in either format."""
    store = ObjectStore(gcp_conn_id="google_cloud_default")
    content = a_shard(form)
    store.write(f"gs://taxi-local/large/trips_0.{form}", content)

    instances = read_trips(store, f"gs://taxi-local/large/trips_*.{form}")

    assert len(instances) == 3
    assert 0 < sum(downloads) < len(content) / 5


@pytest.mark.usefixtures("downloads")
def test_instances_are_json_lines_by_default() -> None:
    """A DAG without a reader of its own names a file as batch predictions take it."""
    store = ObjectStore(gcp_conn_id="google_cloud_default")
    lines = "".join(f'{{"TripStartHour": {hour}}}\n' for hour in range(10))
    store.write("gs://taxi-local/smoke/instances.jsonl", lines.encode())

    instances = read_json_lines(store, "gs://taxi-local/smoke/instances.jsonl")

    assert instances == [{"TripStartHour": 0}, {"TripStartHour": 1}, {"TripStartHour": 2}]
