"""The Evaluator's model loader, for TFX's own layout and for a bare SavedModel such as a registered one."""

from __future__ import annotations

import posixpath
from typing import Any, Final

import tensorflow_model_analysis as tfma
from tfx.dsl.io import fileio

_TRAINER_FOLDER: Final = "Format-Serving"
"""The Trainer exports to this folder of its Model artifact; a registered model has no such level."""


def saved_model_folder(artifact_uri: str) -> str:
    """Return the folder of `saved_model.pb` for a Model artifact.

    Raises:
        FileNotFoundError: if neither layout has one.

    """
    folders = (posixpath.join(artifact_uri, _TRAINER_FOLDER), artifact_uri)
    for folder in folders:
        if fileio.exists(posixpath.join(folder, "saved_model.pb")):
            return folder
    raise FileNotFoundError(f"no saved_model.pb in {' or '.join(folders)}")


def custom_eval_shared_model(
    eval_saved_model_path: str,
    model_name: str,
    **options: Any,  # noqa: ANN401  # TFX decides what it passes
) -> Any:  # noqa: ANN401
    """Load a model for TFX's Evaluator, which looks for this function by name.

    Args:
        eval_saved_model_path: `<artifact>/Format-Serving`, as TFX expects it.
        model_name: the name in the evaluation's configuration.
        options: the Evaluator's other arguments, such as the configuration.

    """
    artifact_uri = eval_saved_model_path.removesuffix(f"/{_TRAINER_FOLDER}")
    return tfma.default_eval_shared_model(
        eval_saved_model_path=saved_model_folder(artifact_uri),
        model_name=model_name,
        **options,
    )
