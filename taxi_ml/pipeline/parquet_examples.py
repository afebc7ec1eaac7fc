"""The executor of the ExampleGen that reads Parquet, in place of TFX's own.

TFX's `parquet_executor` takes every 0 for a missing value, even the hour of midnight, and makes examples
row by row in Python. This one keeps zeros and encodes whole columns by TFX's own coder, in C++.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from pyarrow import parquet
from tfx.types import standard_component_specs
from tfx_bsl.coders import example_coder

from taxi_ml.pipeline.batched_examples import BatchedExecutor, Rows, UnreadableInputError, one_or_none

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ENCODED_ROWS: Final = 10_000
_READ_ROWS: Final = 100_000


class ColumnTypeError(TypeError):
    """A column of a Parquet file has a type that features cannot have."""


class Executor(BatchedExecutor):
    """Turns each row of the Parquet files of a split into a serialized tf.train.Example.

    Integers become int64, floats float32 and strings bytes, as with CsvExampleGen; a null has no value.
    """

    def rows(self, files: Sequence[str]) -> Rows:
        """Return the rows of Parquet files."""
        return ParquetRows(files)

    def GetInputSourceToExamplePTransform(self) -> beam.PTransform:  # noqa: N802  # tfx's name
        """Return Beam's reader of the files of one split."""
        return _Examples


class ParquetRows(Rows):
    """The rows of Parquet files, whose columns have the types of features."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield all rows; raises ColumnTypeError."""
        first = None
        for path in self.files:
            with FileSystems.open(path) as stream:
                file = parquet.ParquetFile(stream)
                schema = _schema_of_features(file.schema_arrow)
                first = first or schema
                if schema != first:
                    raise UnreadableInputError(
                        f"{path} has other columns than {self.files[0]}; export the split again"
                    )
                for batch in file.iter_batches(_READ_ROWS):
                    yield batch.cast(schema)

    def features(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return each cell as a list: of one value, or empty for a null."""
        features = [one_or_none(column.is_valid(), column.drop_null()) for column in batch.columns]
        return pa.RecordBatch.from_arrays(features, batch.schema.names)


class _Examples(beam.PTransform):  # type: ignore[misc]  # beam has no types
    """Reads the files of one split."""

    def __init__(self, exec_properties: dict[str, Any], split_pattern: str) -> None:
        super().__init__()
        folder = exec_properties[standard_component_specs.INPUT_BASE_KEY]
        self._pattern = os.path.join(folder, split_pattern)  # noqa: PTH118  # may be gs://

    def expand(self, pipeline: beam.Pipeline) -> beam.pvalue.PCollection:
        return (
            pipeline
            | "Read" >> beam.io.ReadFromParquetBatched(self._pattern)
            | "Encode" >> beam.FlatMap(serialized_examples).with_output_types(bytes)
        )


def serialized_examples(table: pa.Table) -> Iterator[bytes]:
    """Yield a serialized tf.train.Example for each row; raises ColumnTypeError."""
    rows = ParquetRows([])
    for batch in table.cast(_schema_of_features(table.schema)).to_batches(max_chunksize=_ENCODED_ROWS):
        yield from example_coder.RecordBatchToExamples(rows.features(batch))


def _schema_of_features(schema: pa.Schema) -> pa.Schema:
    return pa.schema([(field.name, _type_of(field.name, field.type)) for field in schema])


def _type_of(name: str, kind: pa.DataType) -> pa.DataType:
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind):
        return pa.float32()
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return pa.binary()
    raise ColumnTypeError(f"column {name!r} is of type {kind}; export only integers, floats and strings")
