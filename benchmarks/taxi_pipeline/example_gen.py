"""Run an ExampleGen over exported trips: `… example_gen <reader> <source> <target>`.

For the pipeline environment; prints the Unix times at which the executor began and ended, and the CPU seconds
that it took, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import json_format
from tfx.components.example_gen.csv_example_gen import executor as csv_executor
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts

from taxi_ml.pipeline import csv_examples, parquet_examples
from taxi_ml.splits import ExamplesFormat, Split, split_pattern

if TYPE_CHECKING:
    from collections.abc import Sequence


class Reader(StrEnum):
    """A way to make examples of an export."""

    CSV = "csv"
    PARQUET = "parquet"
    CSV_BY_TFX = "csv-by-tfx"
    PARQUET_BY_BEAM = "parquet-by-beam"

    @property
    def reads(self) -> ExamplesFormat:
        """The format of the export."""
        return ExamplesFormat(self.partition("-")[0])


EXECUTORS = {
    Reader.CSV: csv_examples.Executor,
    Reader.PARQUET: parquet_examples.Executor,
    Reader.CSV_BY_TFX: csv_executor.Executor,
    Reader.PARQUET_BY_BEAM: parquet_examples.Executor,
}
_IMAGE = "--sdk_container_image=taxi-vertex/pipeline:local"
BY_DEFAULT = ("--runner=FnApiRunner", "--direct_num_workers=1", _IMAGE)
"""As the settings have them by default."""

PORTABLE = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK", _IMAGE)
"""Beam on this machine by a distributed runner, so that executors leave the work to it."""


def generate(
    reader: Reader, source: Path, target: Path, beam_args: Sequence[str] = ()
) -> standard_artifacts.Examples:
    """Write the examples of all splits below `target`, as the component does; return their artifact.

    Without `beam_args`, they are those of the reader's name.
    """
    by_name = PORTABLE if reader == Reader.PARQUET_BY_BEAM else BY_DEFAULT
    splits = [
        example_gen_pb2.Input.Split(name=split, pattern=split_pattern(split, reader.reads)) for split in Split
    ]
    artifact = standard_artifacts.Examples()
    artifact.uri = str(target)
    properties = {
        "input_base": str(source),
        "input_config": json_format.MessageToJson(example_gen_pb2.Input(splits=splits)),
        "output_config": json_format.MessageToJson(example_gen_pb2.Output()),
        "output_data_format": example_gen_pb2.FORMAT_TF_EXAMPLE,
        "output_file_format": example_gen_pb2.FORMAT_TFRECORDS_GZIP,
    }
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=list(beam_args or by_name), tmp_dir=str(target / "tmp"), unique_id="1"
    )
    EXECUTORS[reader](context).Do({}, {"examples": [artifact]}, properties)
    return artifact


def main() -> None:
    """Generate, and print the times."""
    began, used = time.time(), time.process_time()
    generate(Reader(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
    print(json.dumps([began, time.time(), time.process_time() - used]))


if __name__ == "__main__":
    main()
