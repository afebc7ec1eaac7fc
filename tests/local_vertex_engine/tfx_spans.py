"""A TFX pipeline over spans, versions and three splits; compiled as a script by the pipeline environment."""

from __future__ import annotations

import sys
from pathlib import Path

from tfx import v1 as tfx
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)
from tfx.orchestration.test_pipelines.custom_exit_handler import test_exit_handler
from tfx.proto import example_gen_pb2, transform_pb2

from tests.local_vertex_engine.tfx_components import largest_shares, preprocessing_fn

IMAGE = "taxi-vertex/pipeline:local"
PATTERN = "span-{SPAN}/version-{VERSION}/"


def pipeline() -> tfx.dsl.Pipeline:
    """Return ExampleGen over the newest version of the newest span, and Transform of two of its splits."""
    splits = [
        example_gen_pb2.Input.Split(name=name, pattern=f"{PATTERN}{name}/*")
        for name in ("train", "eval", "test")
    ]
    examples = tfx.components.CsvExampleGen(
        input_base=tfx.dsl.experimental.RuntimeParameter(name="input-base", ptype=str),
        input_config=example_gen_pb2.Input(splits=splits),
    )
    before = tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestArtifactStrategy,
        examples=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Examples),
    ).with_id("before")
    schema = tfx.components.ImportSchemaGen(schema_file="gs://bucket/schema.pbtxt")
    transform = tfx.components.Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn=f"{preprocessing_fn.__module__}.{preprocessing_fn.__name__}",
        disable_statistics=True,
        splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "test"]),
    )
    shares = largest_shares(transformed=transform.outputs["transformed_examples"])
    return tfx.dsl.Pipeline(
        pipeline_name="spans",
        pipeline_root="gs://bucket/root",
        components=[examples, before, schema, transform, shares],
        beam_pipeline_args=["--runner=FnApiRunner", "--direct_num_workers=1"],
    )


def compile_to(folder: Path, *, schema: str) -> None:
    """Write the compiled pipeline job, with TFX's own exit handler."""
    config = KubeflowV2DagRunnerConfig(default_image=IMAGE, use_pipeline_spec_2_1=schema == "2.1")
    runner = KubeflowV2DagRunner(config, output_dir=str(folder), output_filename=f"{schema}.json")
    status = tfx.orchestration.experimental.FinalStatusStr()
    runner.set_exit_handler(test_exit_handler(final_status=status, file_dir="gs://bucket/status.json"))
    runner.run(pipeline())


if __name__ == "__main__":
    for version in ("2.0", "2.1"):
        compile_to(Path(sys.argv[1]), schema=version)
