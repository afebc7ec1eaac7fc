"""Run a request's pipeline in this process and print the facts that tests need, as JSON.

Runs in the pipeline environment: `python -m tests.pipeline.run_and_probe <request.json> <folder>`.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma
import tensorflow_transform as tft
from tfx import v1 as tfx
from tfx.components.trainer.fn_args_utils import FnArgs

from taxi_ml.evaluation import golden, rows
from taxi_ml.evaluation.baseline import BoostedTrees
from taxi_ml.evaluation.drift import distances
from taxi_ml.modules import averages
from taxi_ml.modules.features import COORDINATES, DISTANCE, HISTORY, INPUTS, NULLABLE_FLOATS
from taxi_ml.pipeline.definition import build_pipeline
from taxi_ml.pipeline.request import CompileRequest
from tests.pipeline.trips import PAIR_AVERAGES

if TYPE_CHECKING:
    from taxi_ml.gate.distributions import Drift


def main(request_path: str, folder: str) -> None:
    """Run, then look at the components' results."""
    request = CompileRequest.parse(Path(request_path).read_text())
    root = f"{folder}/local_root"
    values = json.loads(Path(folder, "parameters.json").read_text())
    if values["anchor_uri"]:
        tf.saved_model.save(TenDollars(), values["anchor_uri"])
    pipeline = build_pipeline(request, values, modules=Path(request.modules_uri), root=root)
    pipeline.metadata_connection_config = tfx.orchestration.metadata.sqlite_metadata_connection_config(
        f"{folder}/metadata.db"
    )
    tfx.orchestration.LocalDagRunner().run(pipeline)
    retrained = _retrained(request, root)
    Path(folder, "facts.json").write_text(json.dumps(probe(root) | {"retrained": retrained}))


class TenDollars(tf.Module):  # type: ignore[misc]  # tensorflow has no types
    """A model that serves and answers 10 USD, whatever the trip."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])  # type: ignore[untyped-decorator]  # as above
    def serving_default(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answer each of the serialized examples."""
        return {"fare": tf.fill([tf.size(examples), 1], 10.0)}


def probe(root: str) -> dict[str, Any]:
    """Gather the facts; every artifact has one execution."""
    model_folder = f"{_only(f'{root}/Trainer/model/*')}/Format-Serving"
    model = tf.saved_model.load(model_folder)
    transformed = _transformed(root)
    tests = _records(_only(f"{root}/CsvExampleGen/examples/*") + "/Split-test")
    return {
        "model": model_folder,
        "transformed_features": sorted(transformed),
        "transformed_label_mean": float(transformed["fare"].mean()),
        "drift": [dataclasses.asdict(found) for found in _drift(root)],
        "golden": Path(_only(f"{root}/Report/report/*/golden.json")).read_text(),
        "report": json.loads(Path(_only(f"{root}/Report/report/*/report.json")).read_text()),
        "digests": _digests(_only(f"{root}/CsvExampleGen/examples/*")),
        "baseline": _baseline(root),
        "evaluator": _evaluator_metrics(_only(f"{root}/Evaluator/evaluation/*")),
        "absences": _absences(model, tests),
        "extremes": _extremes(model, tests[0]),
        **_predictions(model, tests),
        **_looked_up(model, model_folder, tests[0]),
    }


def _retrained(request: CompileRequest, root: str) -> dict[str, list[float]]:
    """Train briefly on the transformed rows, twice by one seed and once by another; predict the test rows.

    Then the same with less room than there are rows, so that they are shuffled through files; and twice as
    the mean with earlier ones, of which the second time one is a mean itself.
    """
    # The modules import each other as TFX's wheel has them: top-level.
    sys.path.insert(0, request.modules_uri)
    import datasets  # type: ignore[import-not-found]  # noqa: PLC0415  # found from here on
    import trainer  # type: ignore[import-not-found]  # noqa: PLC0415  # found from here on

    examples = _only(f"{root}/Transform/transformed_examples/*")
    tests = _records(_only(f"{root}/CsvExampleGen/examples/*") + "/Split-test")
    options = {"batch_size": 64, "tuner_trials": 0, "tuner_steps": 1, "tuner_minutes": 1.0}
    found = {}
    kept = datasets.SAMPLE_ROWS, datasets.LOOK_ROWS
    for name, seed, room, members in (
        ("once", 1, kept, ()),
        ("again", 1, kept, ()),
        ("otherwise", 2, kept, ()),
        ("through files", 1, (300, 100), ()),
        ("through files again", 1, (300, 100), ()),
        ("mean", 3, kept, ("once", "otherwise")),
        ("next mean", 4, kept, ("mean", "once")),
    ):
        datasets.SAMPLE_ROWS, datasets.LOOK_ROWS = room
        arguments = FnArgs(
            train_files=[f"{examples}/Split-train/*"],
            eval_files=[f"{examples}/Split-eval/*"],
            transform_output=_only(f"{root}/Transform/transform_graph/*"),
            train_steps=20,
            serving_model_dir=f"{root}/retrained/{name}",
            custom_config={
                **options,
                "seed": seed,
                "members": [f"{root}/retrained/{each}" for each in members],
            },
        )
        trainer.run_fn(arguments)
        found[name] = _fares(arguments.serving_model_dir, tests)
    return found | {
        f"{name}/own": _fares(f"{root}/retrained/{name}/own", tests) for name in ("mean", "next mean")
    }


def _fares(folder: str, records: list[bytes]) -> list[float]:
    model = tf.saved_model.load(folder)
    fares: list[float] = (
        model.signatures["serving_default"](examples=tf.constant(records))["fare"].numpy()[:, 0].tolist()
    )
    return fares


def _drift(root: str) -> tuple[Drift, ...]:
    examples = _only(f"{root}/CsvExampleGen/examples/*")
    splits = {split: f"{examples}/Split-{split}" for split in ("train", "test")}
    return distances(_only(f"{root}/Trainer/model/*"), splits, seed=1)


def _baseline(root: str) -> list[float]:
    """Train the baseline on the train split by the run's seed, and predict the test rows."""
    examples = _only(f"{root}/CsvExampleGen/examples/*")
    train, test = (np.array(_records(f"{examples}/Split-{split}"), object) for split in ("train", "test"))
    fares: list[float] = BoostedTrees.trained(train, seed=20).predict(test).tolist()
    return fares


def _digests(examples: str) -> dict[str, str]:
    """Digest the rows by a fingerprint, and without one by the files of all splits, or of two."""
    splits = {split: f"{examples}/Split-{split}" for split in ("train", "eval", "test")}
    fewer = {split: splits[split] for split in ("train", "test")}
    return {
        "fingerprint": rows.data_digest("split:train,lines:3", splits),
        "files": rows.data_digest(None, splits),
        "fewer files": rows.data_digest(None, fewer),
    }


def _transformed(root: str) -> dict[str, Any]:
    spec = tft.TFTransformOutput(_only(f"{root}/Transform/transform_graph/*")).transformed_feature_spec()
    records = _records(_only(f"{root}/Transform/transformed_examples/*") + "/Split-train")
    return {name: value.numpy() for name, value in tf.io.parse_example(records, spec).items()}


def _predictions(model: Any, records: list[bytes]) -> dict[str, Any]:  # noqa: ANN401  # tensorflow has no types
    """Call both signatures with the test rows as they are, without label, and with another label."""
    serve, transform = model.signatures["serving_default"], model.signatures["transform_features"]
    relabelled = [_with_fare(record, 999.0) for record in records]
    unlabelled = [_with_fare(record, None) for record in records]
    as_is, changed = transform(examples=tf.constant(records)), transform(examples=tf.constant(relabelled))
    fares = serve(examples=tf.constant(records))["fare"].numpy()[:, 0].tolist()
    return {
        "predictions": dict(zip(map(_trip_id, records), fares, strict=True)),
        "unlabelled": serve(examples=tf.constant(unlabelled))["fare"].numpy()[:, 0].tolist(),
        "as_is": list(map(float, fares)),
        "moved_by_the_label": sorted(
            name for name in as_is if not bool(tf.reduce_all(as_is[name] == changed[name]))
        ),
    }


def _looked_up(model: Any, folder: str, record: bytes) -> dict[str, Any]:  # noqa: ANN401  # as above
    """Choose from a split of one trip, whose averages only the table beside the model has; and predict it."""
    known = {name: int(PAIR_AVERAGES[name]) for name in averages.AREAS}
    row = _changed(record, dict.fromkeys(averages.NAMES, averages.MISSING) | known)
    with tempfile.TemporaryDirectory() as split:
        options = tf.io.TFRecordOptions(compression_type="GZIP")
        with tf.io.TFRecordWriter(f"{split}/trips.gz", options) as writer:
            writer.write(row)
        chosen = golden.choose(split, folder)
    fares = model.signatures["serving_default"](examples=tf.constant([row]))["fare"]
    return {"looked_up": chosen.to_json(), "not_looked_up": float(fares[0, 0])}


def _extremes(model: Any, record: bytes) -> dict[str, float]:  # noqa: ANN401  # as above
    """Predict a trip whose numbers are all 0, and one with a history of 30 years, or of 2 days."""
    changed: dict[str, dict[str, float]] = {
        "zero": dict.fromkeys(INPUTS, 0),
        "endless history": {"historical_tripDuration": 1e9},
        "long history": {"historical_tripDuration": 172_800},
    }
    records = [_changed(record, values) for values in changed.values()]
    fares = model.signatures["serving_default"](examples=tf.constant(records))["fare"].numpy()[:, 0]
    return dict(zip(changed, fares.tolist(), strict=True))


def _changed(record: bytes, values: dict[str, float]) -> bytes:
    example = tf.train.Example.FromString(record)
    for name, value in values.items():
        feature = example.features.feature[name]
        kept = feature.int64_list if feature.HasField("int64_list") else feature.float_list
        kept.value[:] = [value]
    serialized: bytes = example.SerializeToString()
    return serialized


def _absences(model: Any, records: list[bytes]) -> dict[str, Any]:  # noqa: ANN401  # as above
    """Look at the network's inputs for the nullable floats: is an absent one flagged, and the mean?"""
    spec = {name: tf.io.FixedLenFeature([], tf.float32) for name in NULLABLE_FLOATS}
    raw = tf.io.parse_example(records, spec)
    absent = {name: (raw[name] < 0).numpy() for name in NULLABLE_FLOATS}
    read = {
        name: value.numpy()
        for name, value in model.signatures["transform_features"](examples=tf.constant(records)).items()
    }
    pairs = [
        *((name, "numbers", index) for index, name in enumerate((*HISTORY, *HISTORY))),
        *((DISTANCE, "distances", index) for index in range(4)),
        *((name, "places", index) for index, name in enumerate(COORDINATES[:2])),
    ]
    return {
        "absent": int(sum(map(np.sum, absent.values()))),
        "flagged": bool((read["absent"] == np.stack(list(absent.values()), axis=1)).all()),
        "largest_imputed": float(
            max(abs(read[column][absent[name], index]).max() for name, column, index in pairs)
        ),
        "smallest_spread_of_present": float(
            min(read[column][~absent[name], index].std() for name, column, index in pairs)
        ),
    }


def _evaluator_metrics(folder: str) -> dict[str, float]:
    result = tfma.load_eval_result(folder)
    overall: dict[str, Any] = result.get_metrics_for_slice(())
    return {name: value["doubleValue"] for name, value in overall.items() if "doubleValue" in value}


def _records(folder: str) -> list[bytes]:
    files = sorted(str(path) for path in Path(folder).iterdir())
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP")
    return list(dataset.as_numpy_iterator())


def _with_fare(record: bytes, fare: float | None) -> bytes:
    example = tf.train.Example.FromString(record)
    del example.features.feature["fare"]
    if fare is not None:
        example.features.feature["fare"].float_list.value.append(fare)
    serialized: bytes = example.SerializeToString()
    return serialized


def _trip_id(record: bytes) -> str:
    features = tf.train.Example.FromString(record).features.feature
    trip_id: bytes = features["trip_id"].bytes_list.value[0]
    return trip_id.decode()


def _only(pattern: str) -> str:
    found = sorted(str(path) for path in Path("/").glob(pattern.removeprefix("/")))
    if len(found) != 1:
        raise FileNotFoundError(f"{len(found)} artifacts match {pattern}; expected one")
    return found[0]


if __name__ == "__main__":
    main(*sys.argv[1:])
