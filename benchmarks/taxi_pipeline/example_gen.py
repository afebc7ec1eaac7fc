"""Run one format's ExampleGen over exported trips: `… example_gen <csv or parquet> <source> <target>`.

For the pipeline environment; prints the Unix times at which the executor began and ended, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import json_format
from tfx.components.example_gen.csv_example_gen import executor as csv_executor
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts

from taxi_ml import naming
from taxi_ml.pipeline import parquet_examples

if TYPE_CHECKING:
    from collections.abc import Sequence

BEAM = ("--runner=FnApiRunner", "--direct_num_workers=1")
"""As the settings have them by default."""

EXECUTORS = {
    naming.ExamplesFormat.CSV: csv_executor.Executor,
    naming.ExamplesFormat.PARQUET: parquet_examples.Executor,
}


def generate(
    examples_format: naming.ExamplesFormat, source: Path, target: Path, beam_args: Sequence[str] = BEAM
) -> None:
    """Write the examples of all splits below `target`, as the pipeline's component does."""
    splits = [
        example_gen_pb2.Input.Split(name=split, pattern=naming.split_pattern(split, examples_format))
        for split in naming.Split
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
        beam_pipeline_args=list(beam_args), tmp_dir=str(target / "tmp"), unique_id="1"
    )
    EXECUTORS[examples_format](context).Do({}, {"examples": [artifact]}, properties)


def main() -> None:
    """Generate and say when."""
    began = time.time()
    generate(naming.ExamplesFormat(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
    print(json.dumps([began, time.time()]))


if __name__ == "__main__":
    main()
