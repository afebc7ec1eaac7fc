"""Make models and examples of two months, and a plan; for the pipeline environment.

`python -m tests.pipeline.scored_months FOLDER` writes FOLDER/plan.json. The fare of a model is the hour of
the trip times a factor, USD.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from taxi_ml.replay.plan import Plan, PlannedMonth
from tests.taxi_ml.replays import stored

FACTORS = (1.0, 2.0)
COUNTS = (5000, 3)
"""More rows than a batch has, and fewer."""
SPEC = {"TripStartHour": tf.io.FixedLenFeature([1], tf.int64)}


class Meter(tf.Module):  # type: ignore[misc]  # tensorflow has no types
    """A taximeter."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])  # type: ignore[untyped-decorator]  # as above
    def __call__(self, examples: Any) -> dict[str, Any]:  # noqa: ANN401  # as above
        """Return fares, USD, [batch, 1]."""
        return {
            "fare": self.factor * tf.cast(tf.io.parse_example(examples, SPEC)["TripStartHour"], tf.float32)
        }


def main(folder: Path) -> None:
    """Write everything that a plan names."""
    months = []
    for place, month in enumerate(stored((1.0, 1.0), rows=10).months):
        run = folder / month.id
        meter = Meter(FACTORS[place])
        model = run / "model" / "Format-Serving"
        tf.saved_model.save(meter, str(model), signatures={"serving_default": meter.__call__})
        _write(run / "examples" / "Split-test", COUNTS[place])
        # These examples have too few columns for a baseline.
        text = replace(month.judged.report, references=()).to_json().replace(f"gs://b/{month.id}", str(model))
        (run / "report.json").write_text(text)
        months.append(
            PlannedMonth(
                window=month.id,
                report=str(run / "report.json"),
                examples=str(run / "examples" / "Split-test"),
            )
        )
    (folder / "plan.json").write_text(Plan.of(months).to_json())


def _write(folder: Path, count: int) -> None:
    """Write trips, one an hour from 1970 on; every seventh has no distance."""
    folder.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / "part.gz"), options="GZIP") as writer:
        for hour in range(count):
            integers = {
                "TripStartHour": hour % 24,
                "trip_start_timestamp": 3600 * hour,
                "pickup_census_tract": hour % 3,
            }
            floats = {"fare": 10.0, "rawDistance": -1.0 if hour % 7 == 0 else 3000.0}
            feature = {
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
                for name, value in integers.items()
            } | {
                name: tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
                for name, value in floats.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
