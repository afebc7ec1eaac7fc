"""Real trips that the smoke test sends to a deployed model, read from an exported split."""

from __future__ import annotations

import csv
from io import TextIOWrapper
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from airflow.sdk.exceptions import AirflowFailException

from taxi_ml.modules.features import INPUTS, MISSING, NULLABLE_FLOATS
from taxi_ml.splits import ExamplesFormat

if TYPE_CHECKING:
    from vertex_airflow.objects import ObjectStore

TRIPS = 3
_PARQUET = f".{ExamplesFormat.PARQUET}"
_BUFFER = 64 * 1024


def read_trips(store: ObjectStore, pattern: str) -> list[dict[str, float | None]]:
    """Return the first trips of the first file that matches ``gs://…/trips_*.csv`` or ``.parquet``.

    Raises:
        AirflowFailException: if there is none.

    """
    for uri in store.matching(pattern):
        with store.open(uri) as shard:
            if instances := from_parquet(shard) if uri.endswith(_PARQUET) else from_csv(shard):
                return instances
    raise AirflowFailException(f"{pattern} holds no trips to send to the deployed model")


def from_csv(shard: BinaryIO) -> list[dict[str, float | None]]:
    """Return the first rows of a split's CSV as prediction instances: inputs only, missing numbers as null.

    It reads no more of the file than these rows need; so does `from_parquet`.
    """
    rows = csv.DictReader(TextIOWrapper(shard, encoding="utf-8", newline=""))
    return [{name: _value(name, row[name]) for name in INPUTS} for row in islice(rows, TRIPS)]


def from_parquet(shard: BinaryIO) -> list[dict[str, float | None]]:
    """Return the first rows of a split's Parquet as `from_csv` does."""
    from pyarrow import parquet  # noqa: PLC0415  # the DAG is parsed without it

    # With a buffer, only the first page of each column is read. Without one, all columns of a row group are,
    # and how large those are is up to the writer.
    source = parquet.ParquetFile(shard, buffer_size=_BUFFER, pre_buffer=False)
    rows = next(source.iter_batches(TRIPS, columns=list(INPUTS), use_threads=False), None)
    return [{name: _value(name, row[name]) for name in INPUTS} for row in rows.to_pylist()] if rows else []


def _value(name: str, written: str | float) -> float | None:
    if name not in NULLABLE_FLOATS:
        return int(written)
    number = float(written)
    return None if number == MISSING else number
