"""TFX's ExampleValidator, which stops the pipeline if the trips are broken.

Transform and training wait for it. The kinds of anomaly that the gate's policy tolerates pass, and all do in
a run whose form overrides `data_anomaly`; they remain in the artifact, and so in the report.
"""

from __future__ import annotations

import dataclasses
import json
import posixpath
from typing import TYPE_CHECKING, Any, Final

import tensorflow as tf
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.example_validator import executor as tfx_validator
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from taxi_ml.evaluation import checks, rows, schemas
from taxi_ml.evaluation.broken_trips import stop_if_broken
from taxi_ml.gate.policy import AnomalyRules
from taxi_ml.gate.report import Anomaly
from taxi_ml.naming import SCHEMA_FILE
from taxi_ml.splits import Split

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILE_NAME: Final = "anomalies.json"
"""All anomalies of all splits, in the folder of ExampleValidator's artifact."""


class ValidatorSpec(types.ComponentSpec):  # type: ignore[misc]  # tfx has no types
    """ExampleValidator's inputs and output; `rules` are `AnomalyRules` as JSON."""

    PARAMETERS: Final = {"rules": ExecutionParameter(type=str)}
    INPUTS: Final = {
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS: Final = {"anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies)}


class Executor(tfx_validator.Executor):  # type: ignore[misc]  # tfx has no types
    """Let TFX validate each split, add our own checks, and stop where the gate would reject."""

    def Do(  # noqa: N802  # TFX's name
        self,
        input_dict: Mapping[str, Sequence[Any]],
        output_dict: Mapping[str, Sequence[Any]],
        exec_properties: Mapping[str, Any],
    ) -> Any:  # noqa: ANN401  # TFX's ExecutorOutput
        """Write each split's SchemaDiff.pb and `FILE_NAME`.

        Raises:
            BrokenTripsError: naming every anomaly that counts, after both are written.

        """
        output = super().Do(input_dict, output_dict, exec_properties)
        artifacts = input_dict["statistics"]
        names = artifact_utils.decode_split_names(artifact_utils.get_single_instance(artifacts).split_names)
        folder = artifact_utils.get_single_uri(output_dict["anomalies"])
        found = tuple(
            checks.anomalies(
                schemas.parse(_content(artifact_utils.get_single_uri(input_dict["schema"]), SCHEMA_FILE)),
                {
                    Split(name): _content(artifact_utils.get_split_uri(artifacts, name), rows.STATISTICS_FILE)
                    for name in names
                },
                {
                    Split(name): anomalies_pb2.Anomalies.FromString(
                        _content(f"{folder}/Split-{name}", tfx_validator.DEFAULT_FILE_NAME)
                    )
                    for name in names
                },
            )
        )
        with tf.io.gfile.GFile(posixpath.join(folder, FILE_NAME), "w") as file:
            file.write(json.dumps([dataclasses.asdict(each) for each in found], indent=2))
        stop_if_broken(found, read_rules(exec_properties["rules"]))
        return output


class Validator(base_component.BaseComponent):  # type: ignore[misc]  # tfx has no types
    """The node of `Executor`."""

    SPEC_CLASS = ValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, *, statistics: Any, schema: Any, rules: Any) -> None:  # noqa: ANN401  # as above
        anomalies = types.Channel(type=standard_artifacts.ExampleAnomalies)
        super().__init__(
            ValidatorSpec(statistics=statistics, schema=schema, rules=rules, anomalies=anomalies)
        )


def read_rules(text: str) -> AnomalyRules:
    """Read the rules as `taxi_ml.pipeline.parameters` writes them."""
    rules = json.loads(text)
    return AnomalyRules(
        splits=frozenset(map(Split, rules["splits"])), tolerated_kinds=frozenset(rules["tolerated_kinds"])
    )


def read(folder: str) -> tuple[Anomaly, ...]:
    """Return the anomalies in the folder of the artifact."""
    found = json.loads(_content(folder, FILE_NAME))
    return tuple(Anomaly(**{**each, "split": Split(each["split"])}) for each in found)


def _content(folder: str, name: str) -> bytes:
    with tf.io.gfile.GFile(posixpath.join(folder, name), "rb") as file:
        content: bytes = file.read()
    return content
