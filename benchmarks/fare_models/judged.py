"""Write reports of trained months, and score them: `python -m benchmarks.fare_models.judged <folder>`.

Runs in the pipeline environment, on what `benchmarks.fare_models.months` left in the folder: the report comes
from the pipeline's own component, the stored predictions from the replay's scorer.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2

from benchmarks.fare_models.trips import RAW_SPEC
from taxi_ml.evaluation import checks, findings, quantiles, rows, schemas, validator
from taxi_ml.naming import SCHEMA_FILE
from taxi_ml.replay.plan import Plan, PlannedMonth
from taxi_ml.replay.score import Scorer
from taxi_ml.splits import Split
from taxi_ml.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taxi_ml.gate.report import Report

REPOSITORY = Path(__file__).resolve().parents[2]
SEED = 20


def main(folder: Path) -> None:
    """Write report.json of every month, the stored predictions and the faults."""
    trained = folder / "trained"
    request = json.loads((folder / "request.json").read_text())["models"]
    done = {name: wanted for name, wanted in request.items() if (trained / name / "model").exists()}
    for name in done:
        window = Path(done[name]["data"]).name
        if not (trained / name / "report.json").exists():
            (trained / name / "report.json").write_text(_report(trained / name, window).to_json())
    months = {
        name: PlannedMonth(
            window=Path(wanted["data"]).name,
            report=str(trained / name / "report.json"),
            examples=str(trained / name / "examples" / "Split-test"),
        )
        for name, wanted in done.items()
    }
    healthy = [month for name, month in months.items() if "fault" not in done[name]]
    out = folder / "stored"
    storage = Storage()
    with tempfile.TemporaryDirectory() as scratch:
        scorer = Scorer(storage=storage, out=str(out), scratch=Path(scratch))
        scorer.score(Plan.of(healthy))
        for name, wanted in done.items():
            if "fault" in wanted:
                scorer.score_fault(wanted["fault"], months[name], Plan.of(healthy))


def _report(trained: Path, window: str) -> Report:
    with tempfile.TemporaryDirectory() as draft:
        folder = Path(draft)
        splits = {split.value: str(trained / "examples" / f"Split-{split}") for split in Split}
        shutil.copy(REPOSITORY / "taxi_ml" / SCHEMA_FILE, folder / SCHEMA_FILE)
        reviewed = schemas.parse((folder / SCHEMA_FILE).read_bytes())
        statistics = {split: _statistics(examples) for split, examples in splits.items()}
        (folder / "inferred").mkdir()
        tfdv.write_schema_text(
            tfdv.infer_schema(statistics[Split.TRAIN]), str(folder / "inferred" / SCHEMA_FILE)
        )
        for split, found in statistics.items():
            (folder / split).mkdir()
            (folder / split / rows.STATISTICS_FILE).write_bytes(found.SerializeToString())
        (folder / validator.FILE_NAME).write_text(_anomalies(reviewed, statistics))
        (folder / "blessing").mkdir()
        (folder / "blessing" / "BLESSED").touch()
        return findings.gather(
            findings.Sources(
                splits=splits,
                fingerprint=window,
                statistics={split: str(folder / split) for split in splits},
                schema=str(folder),
                inferred_schema=str(folder / "inferred"),
                anomalies=str(folder),
                challenger=str(trained / "model"),
                champion=None,
                tuner_results=None,
                blessing=str(folder / "blessing"),
            ),
            findings.Run(
                window=window,
                champion_name=None,
                anchor_name="",
                anchor_uri="",
                modules_digest="",
                request_digest="",
                seed=SEED,
            ),
        )


def _anomalies(reviewed: Any, statistics: Mapping[str, Any]) -> str:  # noqa: ANN401  # as below
    """Return what ExampleValidator writes: the reasons for which it ends a run before training."""
    # The examples of this benchmark have no identifiers.
    features = [feature for feature in reviewed.feature if feature.name in RAW_SPEC]
    reviewed = schema_pb2.Schema(feature=features)
    found = checks.anomalies(
        reviewed,
        {Split(split): each.SerializeToString() for split, each in statistics.items()},
        {Split(split): tfdv.validate_statistics(each, reviewed) for split, each in statistics.items()},
    )
    return json.dumps([dataclasses.asdict(each) for each in found])


def _statistics(examples: str) -> Any:  # noqa: ANN401  # tfdv has no types
    parsed = [tf.io.parse_example(batch, RAW_SPEC) for batch in rows.batches(examples, 4096)]
    frame = pd.DataFrame(
        {name: tf.concat([part[name] for part in parts], 0).numpy()[:, 0] for name in RAW_SPEC}
        if (parts := parsed)
        else {}
    )
    options = tfdv.StatsOptions(num_quantiles_histogram_buckets=quantiles.QUANTILES)
    return tfdv.generate_statistics_from_dataframe(frame, stats_options=options, n_jobs=1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
