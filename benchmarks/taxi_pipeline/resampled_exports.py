"""Exports of more trips than there are: a real export, again and again with noise, marked as such."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from taxi_ml import naming

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARK: Final = "resampled"
"""The id of every trip that nobody made begins with this word."""

_SPREAD: Final = 0.05
_ROWS_A_FILE: Final = 500_000
_MICRO: Final = pa.decimal128(18, 6)


def resample(source: Path, target: Path, *, rows: int, seed: int = 0) -> None:
    """Write about so many rows to `target`/csv and `target`/parquet, by the shares of the splits.

    `source` is an export in Parquet. The first rows of each split are its own; copies have ids of their own,
    and numbers above 0 differ by a few percent. The same arguments give the same files.
    """
    generator = np.random.default_rng(seed)
    real = {split: _read(source / split) for split in naming.Split}
    times = rows / sum(len(table) for table in real.values())
    for split, table in real.items():
        copies = itertools.islice(_copies(table, generator), max(1, round(times)))
        for number, part in enumerate(_parts(copies)):
            _write(part, target, split, number)


def _read(folder: Path) -> pa.Table:
    return pa.concat_tables(parquet.read_table(path) for path in sorted(folder.glob("*.parquet")))


def _copies(real: pa.Table, generator: np.random.Generator) -> Iterator[pa.Table]:
    yield real
    for copy in itertools.count(1):
        columns = [_noisy(real[name], copy, generator) for name in real.column_names]
        yield pa.table(columns, real.column_names)


def _noisy(column: pa.ChunkedArray, copy: int, generator: np.random.Generator) -> pa.ChunkedArray:
    if pa.types.is_string(column.type):
        return pc.binary_join_element_wise(f"{MARK}-{copy}", column, "-")
    if not pa.types.is_floating(column.type):
        return column
    numbers = column.to_numpy()
    noise = np.clip(1 + _SPREAD * generator.standard_normal(len(numbers)), 0.5, 1.5)
    return pa.chunked_array([np.round(np.where(numbers > 0, numbers * noise, numbers), 6)])


def _parts(copies: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Put copies together until a file is full."""
    waiting: list[pa.Table] = []
    for table in copies:
        waiting.append(table)
        if sum(map(len, waiting)) >= _ROWS_A_FILE:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _write(table: pa.Table, target: Path, split: str, number: int) -> None:
    """Write one file in both formats: a CSV's floats have six decimals, as BigQuery's have here."""
    for examples_format in naming.ExamplesFormat:
        (target / examples_format / split).mkdir(parents=True, exist_ok=True)
    name = f"{split}/trips_{number:012d}"
    parquet.write_table(table, target / f"parquet/{name}.parquet", compression="snappy")
    texts = [
        column.cast(_MICRO, safe=False) if pa.types.is_floating(column.type) else column
        for column in table.columns
    ]
    with (target / f"csv/{name}.csv").open("wb") as file:
        file.write(f"{','.join(table.column_names)}\n".encode())
        options = csv.WriteOptions(include_header=False, quoting_style="none")
        csv.write_csv(pa.table(texts, table.column_names), file, options)
