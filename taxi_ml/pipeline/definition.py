"""The pipeline's components and how they hang together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tfx import v1 as tfx
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec

from taxi_ml import naming
from taxi_ml.evaluation.findings import Run
from taxi_ml.evaluation.report import Report
from taxi_ml.naming import Split
from taxi_ml.pipeline import csv_examples, evaluator, parquet_examples

if TYPE_CHECKING:
    from pathlib import Path

    from taxi_ml.pipeline.request import CompileRequest

_EXECUTORS: Final = {
    naming.ExamplesFormat.CSV: csv_examples.Executor,
    naming.ExamplesFormat.PARQUET: parquet_examples.Executor,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """The nodes that read the trips and look at them."""

    examples: Any
    statistics: Any
    schema: Any
    anomalies: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The nodes that learn; `tuner` is None where the request allows no trials."""

    transform: Any
    tuner: Any
    trainer: Any


def build_pipeline(request: CompileRequest, *, modules: Path, root: str) -> tfx.dsl.Pipeline:
    """Wire the components that `request` asks for.

    Args:
        request: what to build.
        modules: the local folder of the user modules; TFX packs a wheel from it.
        root: the pipeline root; wheels go to `<root>/_wheels` when the pipeline is compiled.

    """
    data = _examples(request)
    training = _training(request, data, modules)
    verdict = _verdict(request, data, training)
    nodes = [*_present(data), *_present(training), *verdict]
    return tfx.dsl.Pipeline(
        pipeline_name=request.pipeline_name,
        pipeline_root=root,
        components=nodes,
        enable_cache=request.enable_cache,
        beam_pipeline_args=list(request.beam_args),
    )


def _present(stage: Examples | Training) -> list[Any]:
    nodes = (getattr(stage, name) for name in stage.__dataclass_fields__)
    return [node for node in nodes if node is not None]


def _examples(request: CompileRequest) -> Examples:
    examples = _example_gen(request)
    statistics = tfx.components.StatisticsGen(examples=examples.outputs["examples"])
    schema = tfx.components.SchemaGen(
        statistics=statistics.outputs["statistics"],
        infer_feature_shape=True,
        exclude_splits=[Split.EVAL, Split.TEST],
    )
    anomalies = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    return Examples(examples=examples, statistics=statistics, schema=schema, anomalies=anomalies)


def _example_gen(request: CompileRequest) -> Any:  # noqa: ANN401  # tfx has no types
    splits = [
        tfx.proto.Input.Split(name=split, pattern=naming.split_pattern(split, request.examples_format))
        for split in Split
    ]
    source = {"input_base": request.data_uri, "input_config": tfx.proto.Input(splits=splits)}
    executor = _EXECUTORS[naming.ExamplesFormat(request.examples_format)]
    return FileBasedExampleGen(
        **source, custom_executor_spec=executor_spec.BeamExecutorSpec(executor)
    ).with_id(f"{request.examples_format.capitalize()}ExampleGen")


def _training(request: CompileRequest, data: Examples, modules: Path) -> Training:
    transform = tfx.components.Transform(
        examples=data.examples.outputs["examples"],
        schema=data.schema.outputs["schema"],
        module_file=str(modules / "preprocessing.py"),
        splits_config=tfx.proto.SplitsConfig(analyze=[Split.TRAIN], transform=[Split.TRAIN, Split.EVAL]),
        disable_analyzer_cache=True,
        disable_statistics=True,
    )
    learning = {
        "module_file": str(modules / "trainer.py"),
        "examples": transform.outputs["transformed_examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "train_args": tfx.proto.TrainArgs(splits=[Split.TRAIN], num_steps=request.train_steps),
        "eval_args": tfx.proto.EvalArgs(splits=[Split.EVAL]),
        "custom_config": _training_options(request),
    }
    tuner = tfx.components.Tuner(**learning) if request.tuner_trials else None
    tuned = {"hyperparameters": tuner.outputs["best_hyperparameters"]} if tuner else {}
    return Training(transform=transform, tuner=tuner, trainer=tfx.components.Trainer(**learning, **tuned))


def _training_options(request: CompileRequest) -> dict[str, Any]:
    return {
        "batch_size": request.batch_size,
        "seed": request.seed,
        "tuner_trials": request.tuner_trials,
        "tuner_steps": request.tuner_steps,
        "tuner_minutes": request.tuner_minutes,
        "ranges": request.ranges,
    }


def _verdict(request: CompileRequest, data: Examples, training: Training) -> list[Any]:
    champion = _champion(request)
    evaluation = tfx.components.Evaluator(
        examples=data.examples.outputs["examples"],
        schema=data.schema.outputs["schema"],
        model=training.trainer.outputs["model"],
        baseline_model=champion.outputs["result"] if champion else None,
        example_splits=[Split.TEST],
        eval_config=evaluator.evaluation_config(request),
        module_path="taxi_ml.evaluation.saved_models",
    )
    pusher = tfx.components.Pusher(
        model=training.trainer.outputs["model"],
        model_blessing=evaluation.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=request.serving_uri)
        ),
    )
    report = Report(
        examples=data.examples.outputs["examples"],
        statistics=data.statistics.outputs["statistics"],
        anomalies=data.anomalies.outputs["anomalies"],
        model=training.trainer.outputs["model"],
        champion=champion.outputs["result"] if champion else None,
        tuner_results=training.tuner.outputs["tuner_results"] if training.tuner else None,
        blessing=evaluation.outputs["blessing"],
        pushed_model=pusher.outputs["pushed_model"],
        run=_run(request),
    )
    return [*([champion] if champion else []), evaluation, pusher, report]


def _run(request: CompileRequest) -> Run:
    return Run(
        window=request.window,
        champion_name=request.champion.name if request.champion else None,
        modules_digest=request.modules_digest,
        request_digest=request.digest,
        seed=request.seed,
    )


def _champion(request: CompileRequest) -> Any:  # noqa: ANN401  # tfx has no types
    if request.champion is None:
        return None
    return tfx.dsl.Importer(
        source_uri=request.champion.uri, artifact_type=tfx.types.standard_artifacts.Model
    ).with_id("Champion")
