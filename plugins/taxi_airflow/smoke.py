"""Real trips to ask a deployed model about, read from an exported split."""

from __future__ import annotations

import csv
from itertools import islice
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException

from taxi_ml.modules.features import INPUTS, MISSING, NULLABLE_FLOATS
from taxi_ml.naming import ExamplesFormat

if TYPE_CHECKING:
    from taxi_airflow.objects import ObjectStore

TRIPS = 3
_PARQUET = f".{ExamplesFormat.PARQUET}"


def read_instances(store: ObjectStore, pattern: str) -> list[dict[str, float | None]]:
    """Return the first trips of the first file that matches ``gs://…/trips_*.csv`` or ``.parquet``.

    Raises:
        AirflowFailException: when there is none.

    """
    for uri in store.matching(pattern):
        content = store.read(uri)
        if instances := from_parquet(content) if uri.endswith(_PARQUET) else to_instances(content.decode()):
            return instances
    raise AirflowFailException(f"{pattern} holds no trips to ask the deployed model about")


def to_instances(text: str) -> list[dict[str, float | None]]:
    """Return the first rows of a split's CSV as prediction instances: inputs only, absent numbers null."""
    return [
        {name: _value(name, row[name]) for name in INPUTS}
        for row in islice(csv.DictReader(text.splitlines()), TRIPS)
    ]


def from_parquet(content: bytes) -> list[dict[str, float | None]]:
    """Return the first rows of a split's Parquet as `to_instances` does."""
    from pyarrow import BufferReader, parquet  # noqa: PLC0415  # the DAG is parsed without it

    rows = next(parquet.ParquetFile(BufferReader(content)).iter_batches(TRIPS), None)
    return [{name: _value(name, row[name]) for name in INPUTS} for row in rows.to_pylist()] if rows else []


def _value(name: str, written: str | float) -> float | None:
    if name not in NULLABLE_FLOATS:
        return int(written)
    number = float(written)
    return None if number == MISSING else number
