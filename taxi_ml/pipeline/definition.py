"""The pipeline's components and their wiring."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import tensorflow_data_validation as tfdv
from tfx import v1 as tfx
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec

from taxi_ml.evaluation import quantiles
from taxi_ml.evaluation.findings import Run
from taxi_ml.evaluation.report import Report
from taxi_ml.evaluation.validator import Validator
from taxi_ml.naming import SCHEMA_FILE
from taxi_ml.pipeline import csv_examples, evaluator, parquet_examples
from taxi_ml.pipeline.parameters import Parameter, training_options
from taxi_ml.splits import ExamplesFormat, Split, split_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from taxi_ml.pipeline.request import CompileRequest

_EXECUTORS: Final = {
    ExamplesFormat.CSV: csv_examples.Executor,
    ExamplesFormat.PARQUET: parquet_examples.Executor,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """The nodes that read and check the trips; `schema` is the reviewed one."""

    examples: Any
    statistics: Any
    schema: Any
    inferred: Any
    anomalies: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The nodes that train; `tuner` is None if the request allows no trials, `refit` if it wants none."""

    transform: Any
    tuner: Any
    trainer: Any
    refit: Any


def build_pipeline(
    request: CompileRequest, values: Mapping[str, Any], *, modules: Path, root: str
) -> tfx.dsl.Pipeline:
    """Wire the components of `request`.

    Args:
        request: what to build.
        values: by the name of a parameter, its value or TFX's RuntimeParameter, which KubeflowV2DagRunner
            leaves to the job.
        modules: the local folder of the user modules; TFX packs a wheel from it.
        root: the pipeline root; wheels go to `<root>/_wheels` when the pipeline is compiled.

    """
    data = _examples(request, values)
    training = _training(request, values, data, modules)
    verdict = _verdict(request, values, data, training)
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


def _examples(request: CompileRequest, values: Mapping[str, Any]) -> Examples:
    examples = _example_gen(request, values[Parameter.DATA_URI])
    statistics = tfx.components.StatisticsGen(
        examples=examples.outputs["examples"],
        stats_options=tfdv.StatsOptions(num_quantiles_histogram_buckets=quantiles.QUANTILES),
    )
    schema = tfx.components.ImportSchemaGen(schema_file=f"{request.modules_uri}/{SCHEMA_FILE}")
    return Examples(
        examples=examples,
        statistics=statistics,
        schema=schema,
        # Only the report waits for the schema that the trips themselves suggest.
        inferred=tfx.components.SchemaGen(
            statistics=statistics.outputs["statistics"],
            infer_feature_shape=True,
            exclude_splits=[Split.EVAL, Split.TEST],
        ),
        anomalies=Validator(
            statistics=statistics.outputs["statistics"],
            schema=schema.outputs["schema"],
            rules=values[Parameter.ANOMALY_RULES],
        ).with_id("ExampleValidator"),
    )


def _example_gen(request: CompileRequest, data_uri: Any) -> Any:  # noqa: ANN401  # tfx has no types
    splits = [
        tfx.proto.Input.Split(name=split, pattern=split_pattern(split, request.examples_format))
        for split in Split
    ]
    source = {"input_base": data_uri, "input_config": tfx.proto.Input(splits=splits)}
    executor = _EXECUTORS[ExamplesFormat(request.examples_format)]
    return FileBasedExampleGen(
        **source, custom_executor_spec=executor_spec.BeamExecutorSpec(executor)
    ).with_id(f"{request.examples_format.capitalize()}ExampleGen")


def _training(request: CompileRequest, values: Mapping[str, Any], data: Examples, modules: Path) -> Training:
    transform = tfx.components.Transform(
        examples=data.examples.outputs["examples"],
        schema=data.schema.outputs["schema"],
        module_file=str(modules / "preprocessing.py"),
        # Without a refit, the test split stays out, so that nothing that is trained can depend on it.
        splits_config=tfx.proto.SplitsConfig(
            analyze=[Split.TRAIN],
            transform=[Split.TRAIN, Split.EVAL, *([Split.TEST] if request.refit else [])],
        ),
        disable_analyzer_cache=True,
        disable_statistics=True,
    )
    # Broken trips are named here, and not by the error of whichever component cannot parse them.
    transform.add_upstream_node(data.anomalies)
    learning = {
        "examples": transform.outputs["transformed_examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "eval_args": tfx.proto.EvalArgs(splits=[Split.EVAL]),
    }
    # Constants, as are its steps: TFX's Tuner would write a parameter into the JSON of its options.
    tuner = (
        tfx.components.Tuner(
            **learning,
            module_file=str(modules / "trainer.py"),
            train_args=tfx.proto.TrainArgs(splits=[Split.TRAIN]),
            custom_config=training_options(request),
        )
        if request.tuner_trials
        else None
    )
    options = values[Parameter.TRAINING_OPTIONS]  # a RuntimeParameter, or the JSON of its value
    learning |= {
        "custom_config": json.loads(options) if isinstance(options, str) else options,
        "hyperparameters": tuner.outputs["best_hyperparameters"] if tuner else None,
    }
    trainer = tfx.components.Trainer(
        **learning, module_file=str(modules / "trainer.py"), train_args=values[Parameter.TRAIN_ARGS]
    )
    refit = (
        tfx.components.Trainer(
            **learning,
            module_file=str(modules / "refit.py"),
            train_args=values[Parameter.REFIT_ARGS],
            base_model=trainer.outputs["model"],
        ).with_id("Refit")
        if request.refit
        else None
    )
    return Training(transform=transform, tuner=tuner, trainer=trainer, refit=refit)


def _verdict(
    request: CompileRequest, values: Mapping[str, Any], data: Examples, training: Training
) -> list[Any]:
    champion = (
        tfx.dsl.Importer(
            source_uri=values[Parameter.CHAMPION_URI], artifact_type=tfx.types.standard_artifacts.Model
        ).with_id("Champion")
        if Parameter.CHAMPION_URI in values
        else None
    )
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
        # A refit's folder has the judged model too.
        model=(training.refit or training.trainer).outputs["model"],
        model_blessing=evaluation.outputs["blessing"],
        push_destination=values[Parameter.PUSH_DESTINATION],
    )
    report = Report(
        examples=data.examples.outputs["examples"],
        statistics=data.statistics.outputs["statistics"],
        schema=data.schema.outputs["schema"],
        inferred_schema=data.inferred.outputs["schema"],
        anomalies=data.anomalies.outputs["anomalies"],
        model=training.trainer.outputs["model"],
        refit=training.refit.outputs["model"] if training.refit else None,
        champion=champion.outputs["result"] if champion else None,
        tuner_results=training.tuner.outputs["tuner_results"] if training.tuner else None,
        blessing=evaluation.outputs["blessing"],
        run=_run(request, values),
    )
    return [*([champion] if champion else []), evaluation, pusher, report]


def _run(request: CompileRequest, values: Mapping[str, Any]) -> Run:
    return Run(
        window=values[Parameter.WINDOW],
        champion_name=values.get(Parameter.CHAMPION_NAME),
        anchor_name=values[Parameter.ANCHOR_NAME],
        anchor_uri=values[Parameter.ANCHOR_URI],
        modules_digest=request.modules_digest,
        request_digest=request.digest,
        seed=request.seed,
    )
