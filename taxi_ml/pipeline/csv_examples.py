"""The executor of the ExampleGen that reads CSV: TFX's own on Beam's distributed runners, else in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.filesystems import FileSystems
from pyarrow import csv
from tfx.components.example_gen.csv_example_gen import executor
from tfx.utils import io_utils
from tfx_bsl.coders import csv_decoder
from tfx_bsl.coders.csv_decoder import ColumnType

from taxi_ml.pipeline.batched_examples import (
    READ_BYTES,
    BatchedExecutor,
    Rows,
    UnreadableInputError,
    one_or_none,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# The numbers that Arrow reads as Python does. TFX reads numbers by Python, to which 1_000, +5 and nan are
# numbers too, and 0x10, which is one to Arrow, is a string.
_PLAIN_INT: Final = r"\A-?[0-9]{1,18}\z"
_PLAIN_FLOAT: Final = r"\A-?[0-9]*\.[0-9]+\z"


class Executor(BatchedExecutor, executor.Executor):  # type: ignore[misc]  # tfx has no types
    """Makes the examples of TFX's CsvExampleGen."""

    def rows(self, files: Sequence[str]) -> Rows:
        """Return the rows of CSV files."""
        return CsvRows(files)


class CsvRows(Rows):
    """The rows of CSV files by RFC 4180; the type of a column is inferred from all its cells."""

    def __init__(self, files: Sequence[str]) -> None:
        super().__init__(files)
        self._names = io_utils.load_csv_column_names(files[0])
        self._columns = {name: _Column() for name in self._names}

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield all rows as strings, and learn their types."""
        for path in self.files:
            if io_utils.load_csv_column_names(path) != self._names:
                raise UnreadableInputError(
                    f"{path} has another header than {self.files[0]}; export them again"
                )
            with FileSystems.open(path) as file:
                for batch in self._reader(file):
                    for name, column in self._columns.items():
                        column.learn(batch[name])
                    yield batch

    def features(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return numbers if all cells of a column are numbers; an empty cell has no value."""
        features = [self._columns[name].feature(batch[name]) for name in self._names]
        return pa.RecordBatch.from_arrays(features, self._names)

    def _reader(self, file: object) -> csv.CSVStreamingReader:
        return csv.open_csv(
            file,
            csv.ReadOptions(block_size=READ_BYTES, column_names=self._names, skip_rows=1),
            csv.ParseOptions(newlines_in_values=True),
            csv.ConvertOptions(column_types=dict.fromkeys(self._names, pa.string())),
        )


class _Column:
    """The kind of a column's values, and whether Arrow reads all of them as Python does."""

    def __init__(self) -> None:
        self._kind = ColumnType.UNKNOWN
        self._is_plain = True

    def learn(self, cells: pa.StringArray) -> None:
        """Widen the kind to include more cells; the widest is that of strings."""
        if self._kind == ColumnType.STRING:
            return
        left = cells.filter(pc.not_equal(cells, ""))
        for pattern, kind in ((_PLAIN_INT, ColumnType.INT), (_PLAIN_FLOAT, ColumnType.FLOAT)):
            plain = pc.match_substring_regex(left, pattern)
            if pc.any(plain).as_py():
                self._kind = max(self._kind, kind)
            left = left.filter(pc.invert(plain))
        self._is_plain &= not len(left)
        for cell in left.to_pylist():
            self._kind = max(self._kind, csv_decoder._InferValueType(cell.encode()))  # noqa: SLF001  # its rules
            if self._kind == ColumnType.STRING:
                return

    def feature(self, cells: pa.StringArray) -> pa.ListArray:
        """Return a list for each cell: of one value, or empty for an empty cell; null if all are empty."""
        if self._kind == ColumnType.UNKNOWN:
            return pa.nulls(len(cells), pa.list_(pa.binary()))
        is_filled = pc.not_equal(cells, "")
        return one_or_none(is_filled, self._values(cells.filter(is_filled)))

    def _values(self, cells: pa.StringArray) -> pa.Array:
        if self._kind == ColumnType.STRING:
            return cells.cast(pa.binary())
        number, exact = (int, pa.int64()) if self._kind == ColumnType.INT else (float, pa.float64())
        if self._is_plain:
            values = cells.cast(exact)
        else:
            values = pa.array([number(cell.encode()) for cell in cells.to_pylist()], exact)
        return values if number is int else values.cast(pa.float32())
