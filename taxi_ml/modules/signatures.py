"""The export: the network with its transform as one SavedModel over serialized examples."""

from __future__ import annotations

import json
import posixpath
from typing import TYPE_CHECKING, Any

import features  # type: ignore[import-not-found]  # a sibling is a top-level module in the wheel
import profiles  # type: ignore[import-not-found]  # as above
import tensorflow as tf
from network import fare  # type: ignore[import-not-found]  # as above

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import tensorflow_transform as tft

CONTRACT_FILE = "assets.extra/instance.json"
"""The path beside the model of the features of an instance and the ranges of their values."""


def export(
    network: Any,  # noqa: ANN401  # keras has no types
    transform: tft.TFTransformOutput,
    folder: str,
    *,
    ranges: Mapping[str, Sequence[float]],
) -> None:
    """Save a SavedModel with two signatures over `examples`, strings of shape [batch].

    `serving_default` answers `fare`, USD, float32 [batch, 1]; the examples need no label.
    `transform_features` answers the network's inputs and the label, which the examples must have.
    `ranges` has the smallest and the largest value of features with narrower bounds than their type.
    """
    module = _FareModule(network, transform)
    served = {
        "serving_default": module.predict_fare,
        "transform_features": module.transform_features,
    }
    tf.saved_model.save(module, folder, signatures=served)
    _write_contract(transform, folder, ranges)


_SERIALIZED = tf.TensorSpec([None], tf.string, name="examples")


class _FareModule(tf.Module):  # type: ignore[misc]  # tensorflow has no types
    """Tracks everything that the signatures use; an untracked layer cannot be saved."""

    def __init__(self, network: Any, transform: tft.TFTransformOutput) -> None:  # noqa: ANN401
        super().__init__()
        self._network = network
        self._weights = [variable.value for variable in network.variables]
        self._transform_layer = transform.transform_features_layer()
        self._labelled = _spec(transform, (*features.INPUTS, features.LABEL))
        self._unlabelled = _spec(transform, features.INPUTS)

    @tf.function(input_signature=[_SERIALIZED])  # type: ignore[untyped-decorator]  # tensorflow has no types
    def predict_fare(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        transformed = self._transform_layer(tf.io.parse_example(examples, self._unlabelled))
        inputs = {name: transformed[name] for name in features.TRANSFORMED}
        return {features.LABEL: fare(self._network(inputs, training=False))}

    @tf.function(input_signature=[_SERIALIZED])  # type: ignore[untyped-decorator]  # as above
    def transform_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        transformed: dict[str, tf.Tensor] = self._transform_layer(
            tf.io.parse_example(examples, self._labelled)
        )
        return transformed


def _spec(transform: tft.TFTransformOutput, names: tuple[str, ...]) -> dict[str, Any]:
    raw = transform.raw_feature_spec()
    return {name: raw[name] for name in names}


def _write_contract(
    transform: tft.TFTransformOutput, folder: str, ranges: Mapping[str, Sequence[float]]
) -> None:
    raw = transform.raw_feature_spec()
    contract = {
        "features": [
            {
                "name": name,
                "type": "integer" if raw[name].dtype == tf.int64 else "number",
                "missing": features.MISSING if name in features.NULLABLE_FLOATS else None,
                **dict(zip(("minimum", "maximum"), ranges.get(name, ()), strict=False)),
            }
            for name in features.INPUTS
        ],
        "signature": "serving_default",
        "prediction": features.LABEL,
    }
    _write(posixpath.join(folder, CONTRACT_FILE), contract)


def write_profile(columns: dict[str, Any], transform: tft.TFTransformOutput, folder: str) -> None:
    """Write the profile of the model's training rows, `columns`, beside it."""
    vocabulary = [word.decode() for word in transform.vocabulary_by_name(features.VOCABULARY)]
    content = {
        "rows": len(columns[features.NUMBERS]),
        "profile": profiles.profile(columns, features.PROFILED, vocabulary),
        "layout": features.PROFILED,
        "vocabulary": vocabulary,
    }
    _write(posixpath.join(folder, profiles.FILE), content)


def _write(path: str, content: dict[str, Any]) -> None:
    tf.io.gfile.makedirs(posixpath.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps(content, indent=2))
