"""TFX's entry point of the Refit: the Trainer once more, which learns from the test rows as well."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final

import tensorflow as tf
import trainer  # type: ignore[import-not-found]  # a sibling is a top-level module in the wheel

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

JUDGED: Final = "judged"
"""The folder of the model that was judged, in that of its refit; `taxi_ml.gate.champion` names it too."""


def run_fn(fn_args: FnArgs) -> None:
    """Train on the splits of `fn_args` as the Trainer did, and keep the judged model beside the result.

    The judged model, `fn_args.base_model`, goes wherever its refit goes: it is served in its place if the two
    differ too much, and later challengers are compared with it, since it has not learned from the test rows.

    Raises:
        ValueError: without a judged model.

    """
    if not fn_args.base_model:
        raise ValueError("a refit needs the model that was judged; give the component a base_model")
    trainer.run_fn(fn_args)
    _copy(fn_args.base_model, posixpath.join(fn_args.serving_model_dir, JUDGED))


def _copy(source: str, target: str) -> None:
    """Copy a folder through TensorFlow's file systems, which include gs://."""
    for folder, _, files in tf.io.gfile.walk(source):
        place = posixpath.join(target, posixpath.relpath(folder, source))
        tf.io.gfile.makedirs(place)
        for name in files:
            tf.io.gfile.copy(posixpath.join(folder, name), posixpath.join(place, name))
