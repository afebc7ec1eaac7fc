"""ExampleGens whose memory does not grow with the rows on Beam's runners of one machine.

These keep every element of a shuffle in memory, about 2 kB a trip. In their place, rows are spread over files
on the local disk by a hash of each row, and each of these becomes one shard, in the order of the hashes. That
shuffles everything, needs the memory of one shard, and gives the same rows the same order however they were
cut into files. On every other runner, such as Dataflow, Beam does the work.
"""

from __future__ import annotations

import abc
import os
import tempfile
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from absl import logging
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from tfx.components.example_gen import base_example_gen_executor, write_split
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils
from tfx_bsl.coders import example_coder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    import apache_beam as beam
    from numpy.typing import NDArray

READ_BYTES: Final = 16 << 20
"""The bytes of a file that are read at once: thousands of rows, some of them for each shard."""

_SHARD_BYTES: Final = 64 << 20
_MOST_SHARDS: Final = 500
"""All shards' files are open at once, and a process may have 1,024 open files."""

_ENCODED_ROWS: Final = 10_000
_KEY: Final = "key of the shuffle"
_RUNNERS_IN_ONE_PROCESS: Final = frozenset(
    {"", "direct", "fnapi", "bundlebaseddirect", "switchingdirect", "prism"}
)


class UnreadableInputError(RuntimeError):
    """The files of a split are missing or do not fit together."""


class Rows(abc.ABC):
    """The rows of the files of one split."""

    def __init__(self, files: Sequence[str]) -> None:
        self.files = files

    @abc.abstractmethod
    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield all rows, in batches with the same columns."""

    @abc.abstractmethod
    def features(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return each cell as a list of its values; for batches as above, once all of them were read."""


class BatchedExecutor(base_example_gen_executor.BaseExampleGenExecutor):  # type: ignore[misc]  # no types
    """Writes its subclass's rows in batches, unless Beam's runner may have other machines for that.

    In both cases TFX's own `Do` names the splits and describes the artifact. The files have Beam's names.
    """

    @abc.abstractmethod
    def rows(self, files: Sequence[str]) -> Rows:
        """Return the rows of the files of one split."""

    def Do(  # noqa: N802  # tfx's name
        self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]
    ) -> None:
        """Write the splits' examples, gzipped TFRecords, below the output artifact."""
        self._artifacts = output_dict[standard_component_specs.EXAMPLES_KEY]
        super().Do(input_dict, output_dict, exec_properties)

    def _make_beam_pipeline(self) -> AbstractContextManager[beam.Pipeline | None]:
        runner = PipelineOptions(self._beam_pipeline_args).view_as(StandardOptions).runner or ""
        name = runner.rpartition(".")[2].lower().removesuffix("runner")
        return nullcontext() if name in _RUNNERS_IN_ONE_PROCESS else super()._make_beam_pipeline()

    def GenerateExamplesByBeam(  # noqa: N802  # tfx's name
        self, pipeline: beam.Pipeline | None, exec_properties: dict[str, Any]
    ) -> dict[str, beam.pvalue.PCollection]:
        """Return the examples for Beam to write; without a pipeline, write them here and return nothing."""
        if pipeline is not None:
            by_beam: dict[str, beam.pvalue.PCollection] = super().GenerateExamplesByBeam(
                pipeline, exec_properties
            )
            return by_beam
        for split in _input_splits(exec_properties):
            folder = exec_properties[standard_component_specs.INPUT_BASE_KEY]
            files = _matching(os.path.join(folder, split.pattern))  # noqa: PTH118  # may be gs://
            # From the bytes alone, since the rows are only known once they have been read.
            shards = min(_MOST_SHARDS, 1 + sum(files.values()) // _SHARD_BYTES)
            target = artifact_utils.get_split_uri(self._artifacts, split.name)
            written = write_shuffled(self.rows(list(files)), target, shards=shards)
            logging.info("Split %s: %d examples in %d shards, made without Beam", split.name, written, shards)
        return {}


def _input_splits(exec_properties: dict[str, Any]) -> Sequence[example_gen_pb2.Input.Split]:
    given, wanted = example_gen_pb2.Input(), example_gen_pb2.Output()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.INPUT_CONFIG_KEY], given)
    proto_utils.json_to_proto(exec_properties[standard_component_specs.OUTPUT_CONFIG_KEY], wanted)
    if wanted.split_config.splits:
        raise UnreadableInputError(
            "output_config asks for splits by hash, which are not made in batches; name the splits in "
            "input_config, or use a runner such as --runner=DataflowRunner"
        )
    return list(given.splits)


def _matching(pattern: str) -> dict[str, int]:
    """Return the files of a pattern, in order, with their bytes."""
    (found,) = FileSystems.match([pattern])
    if not found.metadata_list:
        raise UnreadableInputError(f"no file matches {pattern}; export the split first")
    return {file.path: file.size_in_bytes for file in sorted(found.metadata_list, key=lambda file: file.path)}


def write_shuffled(rows: Rows, folder: str, *, shards: int) -> int:
    """Write the rows as `shards` files of gzipped TFRecords, and return the number of rows.

    Each file holds a random sample, in random order.
    """
    fileio.makedirs(folder)
    written = 0
    with tempfile.TemporaryDirectory(prefix="examples-") as scratch:
        paths = [Path(scratch, str(number)) for number in range(shards)]
        _scatter(rows.batches(), paths)
        for number, path in enumerate(paths):
            name = f"{write_split.DEFAULT_TF_RECORD_FILE_NAME}-{number:05d}-of-{shards:05d}.gz"
            with tf.io.TFRecordWriter(os.path.join(folder, name), "GZIP") as writer:  # noqa: PTH118  # gs://
                for batch in _gathered(path):
                    written += len(batch)
                    for example in example_coder.RecordBatchToExamples(rows.features(batch)):
                        writer.write(example)
    return written


def _scatter(batches: Iterable[pa.RecordBatch], paths: Sequence[Path]) -> None:
    """Append each row, with its key, to the file that the key chooses; no file without any batch."""
    with ExitStack() as stack:
        writers: list[pa.ipc.RecordBatchStreamWriter] = []
        for batch in batches:
            keys = _keys(batch)
            order = np.argsort(keys % len(paths))
            bounds = np.searchsorted((keys % len(paths))[order], range(len(paths) + 1))
            keyed = batch.append_column(_KEY, pa.array(keys)).take(pa.array(order))
            # Arrow's streams need a schema, which is only known with the first batch.
            if not writers:
                writers = [stack.enter_context(pa.ipc.new_stream(str(path), keyed.schema)) for path in paths]
            for writer, start, end in zip(writers, bounds, bounds[1:], strict=False):
                writer.write_batch(keyed.slice(start, end - start))


def _keys(batch: pa.RecordBatch) -> NDArray[np.uint64]:
    """Return a hash of each row's content."""
    cells = [
        column if pa.types.is_binary(column.type) else column.cast(pa.string()).cast(pa.binary())
        for column in batch.columns
    ]
    # Separators keep rows apart that differ only in where a cell ends.
    lines = pc.binary_join_element_wise(*cells, b"\0", null_handling="replace", null_replacement=b"\1")
    keys: NDArray[np.uint64] = pd.util.hash_array(lines.to_numpy(zero_copy_only=False), categorize=False)
    return keys


def _gathered(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one file in the order of their keys, without these."""
    if path.exists():
        with pa.OSFile(str(path)) as source:
            table = pa.ipc.open_stream(source).read_all()
        order = pa.array(np.argsort(table[_KEY].to_numpy()))
        yield from table.drop_columns([_KEY]).take(order).combine_chunks().to_batches(_ENCODED_ROWS)


def one_or_none(has_value: pa.BooleanArray, values: pa.Array) -> pa.ListArray:
    """Return a list for each row: with the next value if the row has one, else empty."""
    sizes = has_value.to_numpy(zero_copy_only=False).cumsum()
    offsets = pa.array(np.concatenate([[0], sizes]), type=pa.int32())
    return pa.ListArray.from_arrays(offsets, values)
