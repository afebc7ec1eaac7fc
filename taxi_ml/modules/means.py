"""The mean of a model's own network and of earlier models as one SavedModel.

A model whose signature is such a mean keeps its own network in the folder `own/` beside it, so that the next
mean is one of networks and not of means.
"""

from __future__ import annotations

import json
import logging
import posixpath
from typing import TYPE_CHECKING, Any, Final

import features  # type: ignore[import-not-found]  # a sibling is a top-level module in the wheel
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OWN: Final = "own"
"""The folder of the own network's SavedModel, in that of the mean."""
FILE: Final = "assets.extra/members.json"
"""The path beside a mean of the addresses of its other members."""
CONTRACT_FILE: Final = "assets.extra/instance.json"
"""The path beside a model of the features of an instance and the ranges of their values."""

_LAYOUTS: Final = ("", "Format-Serving")
"""Where a model may be below its address: a registered one is there, and the Trainer has a folder for it."""
_SERIALIZED: Final = tf.TensorSpec([None], tf.string, name="examples")

_log = logging.getLogger(__name__)


class Mean(tf.Module):  # type: ignore[misc]  # tensorflow has no types
    """A model that answers the mean fare of loaded SavedModels; the first is its own network."""

    def __init__(self, models: Iterable[Any], *, least_fare: float) -> None:
        super().__init__()
        self._models = list(models)
        self._least_fare = least_fare

    @tf.function(input_signature=[_SERIALIZED])  # type: ignore[untyped-decorator]  # tensorflow has no types
    def predict_fare(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return `fare`, USD of shape [batch, 1], which is at least the own network's lowest."""
        fares = [
            model.signatures["serving_default"](examples=examples)[features.LABEL] for model in self._models
        ]
        return {features.LABEL: tf.maximum(tf.add_n(fares) / len(fares), self._least_fare)}

    @tf.function(input_signature=[_SERIALIZED])  # type: ignore[untyped-decorator]  # as above
    def transform_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the own network's inputs, by which its training rows are compared with others."""
        transformed: dict[str, tf.Tensor] = self._models[0].signatures["transform_features"](
            examples=examples
        )
        return transformed


def save_mean(folder: str, members: Iterable[str], *, least_fare: float) -> None:
    """Save the mean of the own network in `folder`/own and of the networks in `members` to `folder`."""
    networks = list(members)
    mean = Mean(
        map(tf.saved_model.load, [posixpath.join(folder, OWN), *networks]),
        least_fare=least_fare,
    )
    signatures = {"serving_default": mean.predict_fare, "transform_features": mean.transform_features}
    tf.saved_model.save(mean, folder, signatures=signatures)
    path = posixpath.join(folder, FILE)
    tf.io.gfile.makedirs(posixpath.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps({"members": networks}, indent=2))


def networks(models: Iterable[str]) -> Iterator[str]:
    """Yield the folder of each model's own network, if it can answer the instances that this release takes.

    Raises:
        FileNotFoundError: if a model's address has no SavedModel.

    """
    for model in models:
        folders = [posixpath.join(model, layout) if layout else model for layout in _LAYOUTS]
        folder = next(filter(_has_model, folders), None)
        if folder is None:
            raise FileNotFoundError(f"no saved_model.pb in {' or '.join(folders)}; start a new run")
        if lacking := _unknown_features(folder):
            _log.warning("%s is left out of the mean: it also reads %s", model, ", ".join(lacking))
            continue
        own = posixpath.join(folder, OWN)
        yield own if _has_model(own) else folder


def _has_model(folder: str) -> bool:
    return bool(tf.io.gfile.exists(posixpath.join(folder, "saved_model.pb")))


def _unknown_features(folder: str) -> list[str]:
    """Return the features of a model's instances that those of this release do not have."""
    with tf.io.gfile.GFile(posixpath.join(folder, CONTRACT_FILE)) as file:
        contract = json.loads(file.read())
    return sorted({each["name"] for each in contract["features"]} - set(features.INPUTS))
