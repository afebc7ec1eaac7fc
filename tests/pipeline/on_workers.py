"""Run the Beam components in this process, then on a pool of workers, and write the results of both.

Runs in the pipeline environment, by `tests.pipeline.workers`: FOLDER holds request.json, parameters.json
and data/, and gets found.json.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import tensorflow_data_validation as tfdv
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from pyarrow import csv, parquet
from tfx import v1 as tfx
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline

from benchmarks.taxi_pipeline.example_gen import Reader, generate
from taxi_ml.pipeline.definition import build_pipeline
from taxi_ml.pipeline.request import CompileRequest
from taxi_ml.splits import Split
from tests.pipeline.examples_of import examples
from tests.pipeline.workers import beam_args

ON_BEAM = ("CsvExampleGen", "StatisticsGen", "Transform", "Evaluator")


def main(folder: Path, pool: str) -> None:
    """Run and compare both formats."""
    request = CompileRequest.parse((folder / "request.json").read_text())
    run(request, folder)
    on_pool = dataclasses.replace(request, beam_args=beam_args(pool))
    for component in ON_BEAM:
        run(on_pool, folder, only=component)
    write_parquet(folder / "data", folder / "parquet")
    for number, asked in enumerate((request, on_pool), start=1):
        target = folder / "root" / "ParquetExampleGen" / "examples" / str(number)
        generate(Reader.PARQUET, folder / "parquet", target, asked.beam_args)
    (folder / "found.json").write_text(json.dumps(found(folder / "root")))


def run(request: CompileRequest, folder: Path, only: str = "") -> None:
    """Run the whole pipeline, or one component on the artifacts of the whole pipeline's run."""
    values = json.loads((folder / "parameters.json").read_text())
    pipeline = build_pipeline(request, values, modules=Path(request.modules_uri), root=f"{folder}/root")
    connection = tfx.orchestration.metadata.sqlite_metadata_connection_config(f"{folder}/metadata.db")
    pipeline.metadata_connection_config = connection
    part = None
    if only:
        with metadata.Metadata(connection) as records:
            whole = records.store.get_contexts_by_type("pipeline_run")[0].name
        part = tfx_pipeline.RunOptions(from_nodes=[only], to_nodes=[only], base_pipeline_run_id=whole)
    tfx.orchestration.LocalDagRunner().run(pipeline, run_options=part)


def write_parquet(source: Path, target: Path) -> None:
    """Write the CSV files' rows as Parquet."""
    for split in Split:
        (target / split).mkdir(parents=True)
        (file,) = (source / split).glob("*.csv")
        parquet.write_table(csv.read_csv(file), target / split / "trips_000000000000.parquet")


def found(root: Path) -> dict[str, Any]:
    """Return both runs' results by component: first that in this process, then that of the workers."""
    return {
        "CsvExampleGen": [splits(each) for each in outputs(root / "CsvExampleGen" / "examples")],
        "ParquetExampleGen": [splits(each) for each in outputs(root / "ParquetExampleGen" / "examples")],
        "StatisticsGen": [statistics(each) for each in outputs(root / "StatisticsGen" / "statistics")],
        "Transform": [splits(each) for each in outputs(root / "Transform" / "transformed_examples")],
        "vocabulary": [vocabulary(each) for each in outputs(root / "Transform" / "transform_graph")],
        "Evaluator": [metrics(each) for each in outputs(root / "Evaluator" / "evaluation")],
        "blessing": [names(each) for each in outputs(root / "Evaluator" / "blessing")],
    }


def outputs(folder: Path) -> list[Path]:
    """Return the artifacts of an output in the order of their executions."""
    return sorted(folder.iterdir(), key=lambda each: int(each.name))


def splits(artifact: Path) -> dict[str, Any]:
    """Return the examples of each split."""
    return {each.name.removeprefix("Split-"): examples(each) for each in sorted(artifact.glob("Split-*"))}


def statistics(artifact: Path) -> dict[str, Any]:
    """Return the numbers of each feature by split, without histograms."""
    read = {}
    for file in sorted(artifact.glob("Split-*/FeatureStats.pb")):
        (dataset,) = tfdv.load_stats_binary(str(file)).datasets
        read[file.parent.name] = {
            "rows": dataset.num_examples,
            **{each.path.step[0]: numbers(json_format.MessageToDict(each)) for each in dataset.features},
        }
    return read


def numbers(feature: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the numbers of a feature's statistics by their paths."""
    flat: dict[str, float] = {}
    for name, value in feature.items():
        if isinstance(value, dict):
            flat |= numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) or (isinstance(value, str) and value.isdigit()):
            # Integers of 64 bits are strings in protobuf's JSON.
            flat[f"{prefix}{name}"] = float(value)
    return flat


def vocabulary(artifact: Path) -> list[str]:
    """Return the words that Transform found."""
    (file,) = artifact.glob("transform_fn/assets/*")
    return file.read_text().splitlines()


def metrics(artifact: Path) -> dict[str, dict[str, float]]:
    """Return the metrics by slice."""
    result = tfma.load_eval_result(str(artifact))
    return {
        str(key): {name: value["doubleValue"] for name, value in outputs_of[""][""].items()}
        for key, outputs_of in result.slicing_metrics
    }


def names(artifact: Path) -> list[str]:
    """Return the names of an artifact's files."""
    return sorted(each.name for each in artifact.iterdir())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
