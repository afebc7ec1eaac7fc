"""The pipeline's last component: everything the gate needs to know about a run, and golden rows."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any, Final

from tfx import types
from tfx.components.example_gen.utils import FINGERPRINT_PROPERTY_NAME
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter
from tfx.types.experimental import simple_artifacts

from taxi_ml.evaluation import findings, golden
from taxi_ml.promotion.golden import FILE_NAME as GOLDEN_FILE
from taxi_ml.promotion.golden import REFIT_FILE
from taxi_ml.splits import Split

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILE_NAME: Final = "report.json"


class ReportSpec(types.ComponentSpec):  # type: ignore[misc]  # tfx has no types
    """The component's inputs and parameters, and its output: a folder with report.json and golden.json."""

    PARAMETERS: Final = {
        "window": ExecutionParameter(type=str),
        "champion_name": ExecutionParameter(type=str, optional=True),
        "anchor_name": ExecutionParameter(type=str),
        "anchor_uri": ExecutionParameter(type=str),
        "modules_digest": ExecutionParameter(type=str),
        "request_digest": ExecutionParameter(type=str),
        "seed": ExecutionParameter(type=int),
    }
    INPUTS: Final = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": ChannelParameter(type=standard_artifacts.Schema),
        "inferred_schema": ChannelParameter(type=standard_artifacts.Schema),
        "anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "refit": ChannelParameter(type=standard_artifacts.Model, optional=True),
        "champion": ChannelParameter(type=standard_artifacts.Model, optional=True),
        "tuner_results": ChannelParameter(type=standard_artifacts.TunerResults, optional=True),
        "blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
    }
    OUTPUTS: Final = {"report": ChannelParameter(type=simple_artifacts.Metrics)}


class ReportExecutor(base_executor.BaseExecutor):  # type: ignore[misc]  # tfx has no types
    """Score all models on the test rows; write the report, and the rows that the served model must repeat."""

    def Do(  # noqa: N802  # TFX's name
        self,
        input_dict: Mapping[str, Sequence[Any]],
        output_dict: Mapping[str, Sequence[Any]],
        exec_properties: Mapping[str, Any],
    ) -> None:
        """Write report.json and golden.json into the output artifact's folder.

        Raises:
            FileNotFoundError: if a model's artifact has no SavedModel.
            EmptySplitError: if there are no test rows.

        """
        self._log_startup(input_dict, output_dict, exec_properties)
        sources = _sources(input_dict)
        report = findings.gather(sources, _run(exec_properties))
        folder = artifact_utils.get_single_uri(output_dict["report"])
        rows = golden.choose(sources.splits[Split.TEST], sources.challenger)
        findings.write(posixpath.join(folder, GOLDEN_FILE), rows.to_json())
        if sources.refit:
            rows = golden.choose(sources.splits[Split.TEST], sources.refit)
            findings.write(posixpath.join(folder, REFIT_FILE), rows.to_json())
        findings.write(posixpath.join(folder, FILE_NAME), report.to_json())


class Report(base_component.BaseComponent):  # type: ignore[misc]  # tfx has no types
    """The node of `ReportExecutor`; `refit`, `champion` and `tuner_results` are None if a run has none."""

    SPEC_CLASS = ReportSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(ReportExecutor)

    def __init__(  # noqa: PLR0913  # one argument for each channel, as TFX's components have it
        self,
        *,
        examples: Any,  # noqa: ANN401  # tfx has no types
        statistics: Any,  # noqa: ANN401  # as above
        schema: Any,  # noqa: ANN401  # as above
        inferred_schema: Any,  # noqa: ANN401  # as above
        anomalies: Any,  # noqa: ANN401  # as above
        model: Any,  # noqa: ANN401  # as above
        refit: Any,  # noqa: ANN401  # as above
        champion: Any,  # noqa: ANN401  # as above
        tuner_results: Any,  # noqa: ANN401  # as above
        blessing: Any,  # noqa: ANN401  # as above
        run: findings.Run,
    ) -> None:
        super().__init__(
            ReportSpec(
                examples=examples,
                statistics=statistics,
                schema=schema,
                inferred_schema=inferred_schema,
                anomalies=anomalies,
                model=model,
                refit=refit,
                champion=champion,
                tuner_results=tuner_results,
                blessing=blessing,
                report=types.Channel(type=simple_artifacts.Metrics),
                window=run.window,
                champion_name=run.champion_name,
                anchor_name=run.anchor_name,
                anchor_uri=run.anchor_uri,
                modules_digest=run.modules_digest,
                request_digest=run.request_digest,
                seed=run.seed,
            )
        )


def _run(properties: Mapping[str, Any]) -> findings.Run:
    return findings.Run(
        window=properties["window"],
        champion_name=properties.get("champion_name"),
        anchor_name=properties["anchor_name"],
        anchor_uri=properties["anchor_uri"],
        modules_digest=properties["modules_digest"],
        request_digest=properties["request_digest"],
        seed=properties["seed"],
    )


def _sources(inputs: Mapping[str, Sequence[Any]]) -> findings.Sources:
    examples = artifact_utils.get_single_instance(inputs["examples"])
    splits = artifact_utils.decode_split_names(examples.split_names)
    return findings.Sources(
        splits={split: artifact_utils.get_split_uri([examples], split) for split in splits},
        fingerprint=examples.get_string_custom_property(FINGERPRINT_PROPERTY_NAME) or None,
        statistics=_folders(inputs["statistics"], splits),
        schema=artifact_utils.get_single_uri(inputs["schema"]),
        inferred_schema=artifact_utils.get_single_uri(inputs["inferred_schema"]),
        anomalies=artifact_utils.get_single_uri(inputs["anomalies"]),
        challenger=artifact_utils.get_single_uri(inputs["model"]),
        refit=_optional_uri(inputs, "refit"),
        champion=_optional_uri(inputs, "champion"),
        tuner_results=_optional_uri(inputs, "tuner_results"),
        blessing=artifact_utils.get_single_uri(inputs["blessing"]),
    )


def _folders(artifacts: Sequence[Any], splits: Sequence[str]) -> dict[str, str]:
    uri = artifact_utils.get_single_uri(artifacts)
    return {split: posixpath.join(uri, f"Split-{split}") for split in splits}


def _optional_uri(inputs: Mapping[str, Sequence[Any]], name: str) -> str | None:
    return artifact_utils.get_single_uri(inputs[name]) if inputs.get(name) else None
