"""A small TFX pipeline with components of its own; compiled as a script by the pipeline environment."""

from __future__ import annotations

import sys
from pathlib import Path

from tfx import v1 as tfx
from tfx.components import CsvExampleGen, ExampleValidator, SchemaGen, StatisticsGen
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)

from tests.local_vertex_engine.tfx_components import count_rows, say

SPLITS = '["train", "eval"]'
IMAGE = "taxi-vertex/pipeline:local"


def pipeline() -> tfx.dsl.Pipeline:
    """Return CSV → statistics → schema → validation, and two Python functions."""
    source = tfx.dsl.experimental.RuntimeParameter(name="input-base", ptype=str)
    examples = CsvExampleGen(input_base=source)
    statistics = StatisticsGen(examples=examples.outputs["examples"])
    schema = SchemaGen(statistics=statistics.outputs["statistics"])
    anomalies = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    rows = count_rows(examples=examples.outputs["examples"])
    said = say(rows=rows.outputs["rows"].future()[0].value, text="rows")
    champion = tfx.dsl.Importer(
        source_uri="gs://bucket/champion", artifact_type=tfx.types.standard_artifacts.Model
    ).with_id("champion")
    with tfx.dsl.Cond(examples.outputs["examples"].future()[0].property("split_names") == SPLITS):
        wanted = say(rows=rows.outputs["rows"].future()[0].value, text="wanted").with_id("wanted")
    with tfx.dsl.Cond(examples.outputs["examples"].future()[0].property("split_names") != SPLITS):
        unwanted = say(rows=rows.outputs["rows"].future()[0].value, text="unwanted").with_id("unwanted")
    return tfx.dsl.Pipeline(
        pipeline_name="small",
        pipeline_root="gs://bucket/root",
        components=[examples, statistics, schema, anomalies, rows, said, champion, wanted, unwanted],
        beam_pipeline_args=["--runner=FnApiRunner", "--direct_num_workers=1"],
    )


def compile_to(path: Path, *, schema_2_1: bool) -> None:
    """Write the compiled pipeline job."""
    config = KubeflowV2DagRunnerConfig(default_image=IMAGE, use_pipeline_spec_2_1=schema_2_1)
    KubeflowV2DagRunner(config, output_dir=str(path.parent), output_filename=path.name).run(pipeline())


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    compile_to(folder / "2.1.json", schema_2_1=True)
    compile_to(folder / "2.0.json", schema_2_1=False)
