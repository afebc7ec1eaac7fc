"""Exports of more than the real trips: a real export, repeated with noise, marked as such."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from taxi_ml.splits import ExamplesFormat, Split
from taxi_ml.sql.counts import SplitCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

MARK: Final = "resampled"
"""The prefix of the ids of trips that are not real."""

_SPREAD: Final = 0.05
_ROWS_A_FILE: Final = 500_000
_MICRO: Final = pa.decimal128(18, 6)


def resample(
    source: Path,
    target: Path,
    *,
    rows: int,
    sample: Callable[[SplitCounts], SplitCounts] | None = None,
    formats: Collection[ExamplesFormat] = tuple(ExamplesFormat),
) -> SplitCounts:
    """Write about `rows` rows to `target`/csv and `target`/parquet, by the shares of the splits.

    `source` is an export in Parquet. The first rows of each split are its own; copies have ids of their own,
    and numbers above 0 differ by a few percent. `sample` says how many rows of each split are exported of
    those that there are: each row is with that share, as `export_split.sql` takes it, give or take chance.
    Returns the rows that were written. The same arguments give the same files.
    """
    generator = np.random.default_rng(0)
    real = {split: _read(source / split) for split in Split}
    copies = max(1, round(rows / sum(map(len, real.values()))))
    there = SplitCounts(**{split: copies * len(table) for split, table in real.items()})
    exported = sample(there) if sample else there
    written = {}
    for split, table in real.items():
        share = getattr(exported, split) / getattr(there, split)
        parts = _parts(_copies(table, copies, share, generator))
        written[split] = sum(
            _write(part, target, split, number, formats) for number, part in enumerate(parts)
        )
    return SplitCounts(**written)


def _read(folder: Path) -> pa.Table:
    return pa.concat_tables(parquet.read_table(path) for path in sorted(folder.glob("*.parquet")))


def _copies(real: pa.Table, copies: int, share: float, generator: np.random.Generator) -> Iterator[pa.Table]:
    for copy in range(copies):
        drawn = real if share == 1 else real.filter(pa.array(generator.random(len(real)) < share))
        yield drawn if copy == 0 else _noisy_rows(drawn, copy, generator)


def _noisy_rows(rows: pa.Table, copy: int, generator: np.random.Generator) -> pa.Table:
    return pa.table([_noisy(rows[name], copy, generator) for name in rows.column_names], rows.column_names)


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


def _write(
    table: pa.Table, target: Path, split: str, number: int, formats: Collection[ExamplesFormat]
) -> int:
    """Write one file in each format, and return its rows."""
    for examples_format in formats:
        path = target / examples_format / split / f"trips_{number:012d}.{examples_format}"
        path.parent.mkdir(parents=True, exist_ok=True)
        _WRITERS[examples_format](table, path)
    return len(table)


def _write_parquet(table: pa.Table, path: Path) -> None:
    parquet.write_table(table, path, compression="snappy")


def _write_csv(table: pa.Table, path: Path) -> None:
    """Floats have six decimals, as in BigQuery's exports here."""
    texts = [
        column.cast(_MICRO, safe=False) if pa.types.is_floating(column.type) else column
        for column in table.columns
    ]
    with path.open("wb") as file:
        file.write(f"{','.join(table.column_names)}\n".encode())
        options = csv.WriteOptions(include_header=False, quoting_style="none")
        csv.write_csv(pa.table(texts, table.column_names), file, options)


_WRITERS: Final = {
    ExamplesFormat.CSV: _write_csv,
    ExamplesFormat.PARQUET: _write_parquet,
}
