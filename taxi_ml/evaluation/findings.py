"""The contents of a run's artifacts, gathered into report.json."""

from __future__ import annotations

import json
import os
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf

from taxi_ml.evaluation import baseline, drift, rows, schemas, scores, slicing, validator
from taxi_ml.evaluation.saved_models import saved_model_folder
from taxi_ml.gate.metrics import Role
from taxi_ml.gate.report import Challenger, Hashes, Report, ScoredChampion, Trial, Tuning
from taxi_ml.modules.features import LABEL
from taxi_ml.naming import SCHEMA_FILE
from taxi_ml.splits import Split
from taxi_ml.sql.counts import SplitCounts
from taxi_ml.storage import object_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from taxi_ml.gate.metrics import Reference
    from taxi_ml.gate.refits import Refit

SIGNATURE: Final = "serving_default"
"""The signature that serves, and is therefore judged; `taxi_ml/modules/signatures.py` exports it."""
SLICES: Final = ("TripStartHour", "pickup_census_tract")
"""Columns whose values are judged separately."""

_BATCH_ROWS: Final = 4096
_COLUMNS: Final = {LABEL: float, **dict.fromkeys(SLICES, int), "rawDistance": float}
_BANDS_KM: Final = (2, 5, 10)
_OBJECTIVE: Final = "mae_bound"
_HYPERPARAMETERS: Final = ("learning_rate", "depth")


class EmptySplitError(ValueError):
    """A split that must have rows has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The facts about the run that the report repeats; digests are SHA-256 in hexadecimal.

    The anchor's name and folder are empty without one.
    """

    window: str
    champion_name: str | None
    anchor_name: str
    anchor_uri: str
    modules_digest: str
    request_digest: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The addresses of the artifacts; `splits` and `statistics` are folders by split.

    `fingerprint` is the ExampleGen driver's, over the rows; None if the orchestrator lost it.
    """

    splits: Mapping[str, str]
    fingerprint: str | None
    statistics: Mapping[str, str]
    schema: str
    inferred_schema: str
    anomalies: str
    challenger: str
    refit: str | None = None
    champion: str | None
    tuner_results: str | None
    blessing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The test rows with the models' predictions, and the columns to slice by.

    `quotable` marks the trips whose distance is known and above 0. `anchor` and `refit` are those models'
    fares in USD.
    """

    predictions: scores.Predictions
    slicing: Mapping[str, NDArray[Any]]
    quotable: NDArray[np.bool_]
    anchor: NDArray[np.float64] | None
    refit: NDArray[np.float64] | None


def gather(sources: Sources, run: Run) -> Report:
    """Return the report.

    Raises:
        FileNotFoundError: if a model's artifact has no SavedModel.
        EmptySplitError: if there are no test rows.
    """
    counts = {split: rows.count(folder) for split, folder in sources.statistics.items()}
    if not counts[Split.TEST]:
        raise EmptySplitError(
            f"{sources.splits[Split.TEST]} is empty; a model cannot be judged without test rows"
        )
    scored = _score(sources, run)
    predictions, quotable = scored.predictions, scored.predictions.of(scored.quotable)
    challenger = object_uri(saved_model_folder(sources.challenger), os.environ)
    champion = _champion(sources, run, predictions, quotable)
    reviewed, inferred = (
        schemas.parse(_content(folder, SCHEMA_FILE)) for folder in (sources.schema, sources.inferred_schema)
    )
    return Report(
        window=run.window,
        rows=SplitCounts(**counts),
        challenger=Challenger(
            uri=challenger,
            metrics=scores.metrics(predictions.fares, predictions.challenger),
            quotable=scores.metrics(quotable.fares, quotable.challenger),
        ),
        refit=_refit(sources, scored),
        champion=champion,
        difference=scores.difference(predictions, seed=run.seed),
        references=tuple(_references(run, scored)),
        unchanged=scores.is_unchanged(predictions)
        or (champion is not None and champion.uri.rstrip("/") == challenger),
        slices=slicing.slices(predictions, scored.slicing),
        anomalies=validator.read(sources.anomalies),
        schema=schemas.differences(reviewed, inferred),
        tuner=_tuner(sources.tuner_results),
        blessed=_blessed(sources.blessing),
        drift=drift.distances(sources.champion, sources.splits, seed=run.seed) if sources.champion else (),
        skew=drift.distances(sources.challenger, {Split.TEST: sources.splits[Split.TEST]}, seed=run.seed),
        fit=scores.fit(predictions),
        hashes=Hashes(
            modules=run.modules_digest,
            request=run.request_digest,
            data=rows.data_digest(sources.fingerprint, sources.splits),
        ),
    )


def write(path: str, text: str) -> None:
    """Write a text file through TensorFlow's file systems, which include gs://."""
    tf.io.gfile.makedirs(posixpath.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(text)


def _score(sources: Sources, run: Run) -> Scored:
    """Read the test rows once, in batches, and keep only the numbers."""
    learned = rows.sample(sources.splits[Split.TRAIN], baseline.MOST_ROWS, seed=run.seed)
    folders = {
        "challenger": sources.challenger,
        "champion": sources.champion,
        "refit": sources.refit,
        Role.ANCHOR: run.anchor_uri,
    }
    models = {name: serving_model(folder) for name, folder in folders.items() if folder}
    models[Role.BASELINE] = baseline.BoostedTrees.trained(learned, seed=run.seed).predict
    parts = [
        rows.columns(batch, _COLUMNS) | {name: model(batch) for name, model in models.items()}
        for batch in rows.batches(sources.splits[Split.TEST], _BATCH_ROWS)
    ]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    metres = columns["rawDistance"]
    return Scored(
        predictions=scores.Predictions(
            fares=columns[LABEL],
            challenger=columns["challenger"],
            champion=columns.get("champion"),
            baseline=columns[Role.BASELINE],
        ),
        slicing={name: columns[name] for name in SLICES} | {"distance_km": distance_bands(metres)},
        quotable=metres > 0,
        anchor=columns.get(Role.ANCHOR),
        refit=columns.get("refit"),
    )


def serving_model(artifact_uri: str) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    """Load the signature that serves, so that the model is judged by what it will answer."""
    model = tf.saved_model.load(saved_model_folder(artifact_uri))

    def predict(batch: NDArray[Any]) -> NDArray[np.float64]:
        fares = model.signatures[SIGNATURE](examples=tf.constant(batch))[LABEL]
        return fares.numpy().reshape(-1).astype(np.float64)  # type: ignore[no-any-return]  # of TensorFlow

    return predict


def distance_bands(metres: NDArray[np.float64]) -> NDArray[np.str_]:
    """Return the band of each straight distance, a negative one being unknown."""
    edges = [0, *_BANDS_KM]
    names = [f"{low}-{high}" for low, high in zip(edges, _BANDS_KM, strict=False)]
    names = ["unknown", *names, f"{edges[-1]}+"]
    return np.array(names)[np.where(metres < 0, 0, 1 + np.digitize(metres / 1000, _BANDS_KM))]


def _content(folder: str, name: str) -> bytes:
    with tf.io.gfile.GFile(posixpath.join(folder, name), "rb") as file:
        content: bytes = file.read()
    return content


def _refit(sources: Sources, scored: Scored) -> Refit | None:
    if sources.refit is None or scored.refit is None:
        return None
    return scores.refit(
        scored.predictions,
        scored.refit,
        uri=object_uri(saved_model_folder(sources.refit), os.environ),
    )


def _champion(
    sources: Sources, run: Run, predictions: scores.Predictions, quotable: scores.Predictions
) -> ScoredChampion | None:
    if sources.champion is None or predictions.champion is None or quotable.champion is None:
        return None
    return ScoredChampion(
        name=run.champion_name or "",
        uri=object_uri(sources.champion, os.environ),
        metrics=scores.metrics(predictions.fares, predictions.champion),
        quotable=scores.metrics(quotable.fares, quotable.champion),
    )


def _references(run: Run, scored: Scored) -> Iterator[Reference]:
    models = {
        Role.BASELINE: (scored.predictions.baseline, baseline.NAME, ""),
        Role.ANCHOR: (scored.anchor, run.anchor_name, object_uri(run.anchor_uri, os.environ)),
    }
    for role, (fares, name, uri) in models.items():
        if fares is not None:
            yield scores.reference(role, scored.predictions, fares, name=name, uri=uri, seed=run.seed)


def _tuner(folder: str | None) -> Tuning | None:
    if folder is None:
        return None
    with tf.io.gfile.GFile(posixpath.join(folder, "tuner_results.json")) as file:
        records = sorted(json.loads(file.read()), key=lambda record: record["score"])
    history = tuple(
        Trial(score=record["score"], hyperparameters={name: record[name] for name in _HYPERPARAMETERS})
        for record in records
    )
    return Tuning(
        trials=len(history),
        objective=_OBJECTIVE,
        best=history[0].hyperparameters if history else {},
        best_score=history[0].score if history else None,
        history=history,
    )


def _blessed(folder: str) -> bool | None:
    """Read the Evaluator's marker; None if it validated nothing."""
    for marker, verdict in (("BLESSED", True), ("NOT_BLESSED", False)):
        if tf.io.gfile.exists(posixpath.join(folder, marker)):
            return verdict
    return None
