"""What a run's artifacts say, gathered into the content of report.json."""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf
from tensorflow_metadata.proto.v0 import anomalies_pb2

from taxi_ml.evaluation import rows, scores
from taxi_ml.evaluation.saved_models import saved_model_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SCHEMA_VERSION: Final = 1
TEST: Final = "test"
LABEL: Final = "fare"
SIGNATURE: Final = "serving_default"

_BATCH_ROWS: Final = 4096
_COLUMNS: Final = {LABEL: float, "TripStartHour": int, "pickup_census_tract": int, "rawDistance": float}
_BANDS_KM: Final = (2, 5, 10)
_OBJECTIVE: Final = "val_rmse"


class EmptySplitError(ValueError):
    """A split that must have rows has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the report repeats about the run; digests are SHA-256 in hexadecimal."""

    window: str
    champion_name: str | None
    modules_digest: str
    request_digest: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The addresses of the artifacts; `splits` and `anomalies` are folders by split."""

    splits: Mapping[str, str]
    anomalies: Mapping[str, str]
    challenger: str
    champion: str | None
    tuner_results: str | None
    blessing: str
    pushed_model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The test rows with both models' predictions, and the columns to slice by."""

    predictions: scores.Predictions
    slicing: Mapping[str, NDArray[Any]]


def gather(sources: Sources, run: Run) -> dict[str, Any]:
    """Return the report; `taxi_ml.gate.report` reads what this writes.

    Raises:
        FileNotFoundError: where a model's artifact holds no SavedModel.
        EmptySplitError: where there are no test rows.

    """
    content = {split: rows.split_content(folder) for split, folder in sources.splits.items()}
    if not content[TEST].count:
        raise EmptySplitError(f"{sources.splits[TEST]} holds no rows; a model cannot be judged on none")
    scored = _score(sources)
    predictions = scored.predictions
    return {
        "schema_version": SCHEMA_VERSION,
        "window": run.window,
        "rows": {split: part.count for split, part in content.items()},
        "challenger": {
            "uri": _servable(sources),
            "metrics": scores.metrics(predictions.fares, predictions.challenger),
        },
        "champion": _champion(sources, run, predictions),
        "difference": scores.difference(predictions, seed=run.seed),
        "slices": scores.slices(predictions, scored.slicing),
        "anomalies": {split: _anomalies(folder) for split, folder in sources.anomalies.items()},
        "tuner": _tuner(sources.tuner_results),
        "blessed": _blessed(sources.blessing),
        "hashes": {
            "modules": run.modules_digest,
            "spec": run.request_digest,
            "data": rows.data_digest(content),
        },
    }


def write(path: str, text: str) -> None:
    """Write a text file through TensorFlow's file systems, gs:// among them."""
    tf.io.gfile.makedirs(posixpath.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(text)


def _score(sources: Sources) -> Scored:
    batches = list(rows.batches(sources.splits[TEST], _BATCH_ROWS))
    parsed = [rows.columns(batch, _COLUMNS) for batch in batches]
    columns = {name: np.concatenate([part[name] for part in parsed]) for name in _COLUMNS}
    predictions = scores.Predictions(
        fares=columns[LABEL],
        challenger=_predict(sources.challenger, batches),
        champion=_predict(sources.champion, batches) if sources.champion else None,
    )
    slicing = {name: columns[name] for name in ("TripStartHour", "pickup_census_tract")}
    return Scored(
        predictions=predictions, slicing={**slicing, "distance_km": _distance_bands(columns["rawDistance"])}
    )


def _predict(artifact_uri: str, batches: list[NDArray[Any]]) -> NDArray[np.float64]:
    """Ask the signature that serves, so that what is judged is what will answer."""
    model = tf.saved_model.load(saved_model_folder(artifact_uri))
    signature = model.signatures[SIGNATURE]
    fares = [signature(examples=tf.constant(batch))[LABEL].numpy().reshape(-1) for batch in batches]
    return np.concatenate(fares).astype(np.float64)


def _distance_bands(metres: NDArray[np.float64]) -> NDArray[np.str_]:
    edges = [0, *_BANDS_KM]
    names = [f"{low}-{high}" for low, high in zip(edges, _BANDS_KM, strict=False)]
    names = ["unknown", *names, f"{edges[-1]}+"]
    return np.array(names)[np.where(metres < 0, 0, 1 + np.digitize(metres / 1000, _BANDS_KM))]


def _servable(sources: Sources) -> str:
    """Where the challenger is to be served from: what was pushed, else what was trained."""
    pushed = tf.io.gfile.exists(posixpath.join(sources.pushed_model, "saved_model.pb"))
    return sources.pushed_model if pushed else saved_model_folder(sources.challenger)


def _champion(sources: Sources, run: Run, predictions: scores.Predictions) -> dict[str, Any] | None:
    if predictions.champion is None:
        return None
    return {
        "name": run.champion_name,
        "uri": sources.champion,
        "metrics": scores.metrics(predictions.fares, predictions.champion),
    }


def _anomalies(folder: str) -> list[dict[str, str]]:
    with tf.io.gfile.GFile(posixpath.join(folder, "SchemaDiff.pb"), "rb") as file:
        anomalies = anomalies_pb2.Anomalies.FromString(file.read())
    of_features = [
        {"feature": name, "description": entry.description}
        for name, entry in sorted(anomalies.anomaly_info.items())
    ]
    if anomalies.HasField("dataset_anomaly_info"):
        of_features.append({"feature": "", "description": anomalies.dataset_anomaly_info.description})
    return of_features


def _tuner(folder: str | None) -> dict[str, Any] | None:
    if folder is None:
        return None
    with tf.io.gfile.GFile(posixpath.join(folder, "tuner_results.json")) as file:
        trials = json.loads(file.read())
    history = sorted(trials, key=lambda trial: trial["score"])
    best = history[0] if history else None
    return {
        "trials": len(history),
        "best": {"learning_rate": best["learning_rate"], "depth": best["depth"]} if best else None,
        "objective": _OBJECTIVE,
        "best_score": best["score"] if best else None,
        "history": history,
    }


def _blessed(folder: str) -> bool | None:
    """Read the Evaluator's marker; None where it validated nothing."""
    for marker, verdict in (("BLESSED", True), ("NOT_BLESSED", False)):
        if tf.io.gfile.exists(posixpath.join(folder, marker)):
            return verdict
    return None
