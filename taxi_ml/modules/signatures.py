"""The export: the network with its transform as one SavedModel over serialized examples."""

from __future__ import annotations

import contextlib
import json
import posixpath
from typing import TYPE_CHECKING, Any

import averages  # type: ignore[import-not-found]  # a sibling is a top-level module in the wheel
import domains  # type: ignore[import-not-found]  # as above
import features  # type: ignore[import-not-found]  # a sibling is a top-level module in the wheel
import intervals  # type: ignore[import-not-found]  # as above
import means  # type: ignore[import-not-found]  # as above
import profiles  # type: ignore[import-not-found]  # as above
import tensorflow as tf
from network import fare  # type: ignore[import-not-found]  # as above

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import tensorflow_transform as tft
    from domains import Domain
    from intervals import Intervals


def export(  # noqa: PLR0913  # the parts of what is served
    network: Any,  # noqa: ANN401  # keras has no types
    transform: tft.TFTransformOutput,
    folder: str,
    *,
    ranges: Mapping[str, Sequence[float]],
    domain: Domain,
    members: Sequence[str] = (),
) -> None:
    """Save a SavedModel with two signatures over `examples`, strings of shape [batch].

    `serving_default` answers `fare`, USD, float32 [batch, 1]; the examples need no label.
    `transform_features` answers the network's inputs and the label, which the examples must have.
    `ranges` has the smallest and the largest value of features with narrower bounds than their type. Numbers
    outside of the `domain` count as its nearest end, and no fare is lower than its least one: that is part of
    the signature, so that what is judged is what is served.

    With `members`, the folders of earlier networks, it answers the mean of the network and of these, and the
    network alone is in `own/`.
    """
    module = _FareModule(network, transform, domain)
    served = {
        "serving_default": module.predict_fare,
        "transform_features": module.transform_features,
    }
    own = posixpath.join(folder, means.OWN) if members else folder
    tf.saved_model.save(module, own, signatures=served)
    if members:
        means.save_mean(folder, members, least_fare=domain.least_fare)
    _write_contract(transform, folder, ranges)
    _write(posixpath.join(folder, domains.FILE), domain.content)


_WEEK_SECONDS = 7 * 86_400
_SERIALIZED = tf.TensorSpec([None], tf.string, name="examples")


class _FareModule(tf.Module):  # type: ignore[misc]  # tensorflow has no types
    """Tracks everything that the signatures use; an untracked layer cannot be saved."""

    def __init__(self, network: Any, transform: tft.TFTransformOutput, domain: Domain) -> None:  # noqa: ANN401
        super().__init__()
        self._domain = domain
        self._network = network
        self._weights = [variable.value for variable in network.variables]
        self._transform_layer = transform.transform_features_layer()
        self._labelled = _spec(transform, (*features.INPUTS, features.LABEL))
        self._unlabelled = _spec(transform, features.INPUTS)

    @tf.function(input_signature=[_SERIALIZED])  # type: ignore[untyped-decorator]  # tensorflow has no types
    def predict_fare(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        trips = tf.io.parse_example(examples, self._unlabelled)
        transformed = self._transform_layer({**trips, **_within(trips, self._domain)})
        inputs = {name: transformed[name] for name in features.TRANSFORMED}
        return {
            features.LABEL: tf.maximum(fare(self._network(inputs, training=False)), self._domain.least_fare)
        }

    @tf.function(input_signature=[_SERIALIZED])  # type: ignore[untyped-decorator]  # as above
    def transform_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        transformed: dict[str, tf.Tensor] = self._transform_layer(
            tf.io.parse_example(examples, self._labelled)
        )
        return transformed


def _within(trips: Mapping[str, tf.Tensor], domain: Domain) -> dict[str, tf.Tensor]:
    """Move known numbers to the domain's nearest end, and times by whole weeks; an unknown stays unknown."""
    moved = {}
    for name, ends in domain.numbers.items():
        given = trips[name]
        low, high = tf.cast(ends[0], given.dtype), tf.cast(ends[1], given.dtype)
        if name == features.TIMESTAMP:
            before, after = tf.maximum(low - given, 0), tf.maximum(given - high, 0)
            # Weeks are rounded up: -(-x // y).
            moved[name] = given + _WEEK_SECONDS * (-(-before // _WEEK_SECONDS) + -after // _WEEK_SECONDS)
        else:
            moved[name] = tf.where(given < 0, given, tf.clip_by_value(given, low, high))
    return moved


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
    _write(posixpath.join(folder, means.CONTRACT_FILE), contract)


def write_profile(columns: dict[str, Any], transform: tft.TFTransformOutput, folder: str) -> None:
    """Write the profile of the model's training rows beside it; `columns` are its inputs and the label."""
    vocabulary = [word.decode() for word in transform.vocabulary_by_name(features.VOCABULARY)]
    label = (features.LABEL, 0, profiles.tenths(columns[features.LABEL]))
    layout = features.PROFILED | {features.LABEL: label}
    content = {
        "rows": len(columns[features.NUMBERS]),
        "profile": profiles.profile(columns, layout, vocabulary),
        "layout": layout,
        "vocabulary": vocabulary,
    }
    _write(posixpath.join(folder, profiles.FILE), content)


def write_intervals(found: Intervals, folder: str) -> None:
    """Write the intervals of the model's fares beside it."""
    _write(posixpath.join(folder, intervals.FILE), found.content)


def write_averages(pattern: str, folder: str) -> None:
    """Write the table of pair averages in the CSV files of `pattern` beside the model.

    Raises:
        FileNotFoundError: if there are none.

    """
    names = sorted(tf.io.gfile.glob(pattern))
    if not names:
        raise FileNotFoundError(f"no pair averages in {pattern}; does the task export.averages write them?")
    with contextlib.ExitStack() as stack:
        table = averages.PairAverages.read([stack.enter_context(tf.io.gfile.GFile(name)) for name in names])
    with tf.io.gfile.GFile(posixpath.join(folder, averages.FILE), "wb") as file:
        file.write(table.content)


def _write(path: str, content: dict[str, Any]) -> None:
    tf.io.gfile.makedirs(posixpath.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps(content, indent=2))
