"""Save a small model with an instance contract; runs in the pipeline environment.

The fare is 1 USD an hour and 0.001 USD a meter, 5 USD for missing meters, not finite at hour 99 and negative
at hour 98.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import tensorflow as tf

SPEC = {"hour": tf.io.FixedLenFeature([1], tf.int64), "metres": tf.io.FixedLenFeature([1], tf.float32)}
CONTRACT = {
    "features": [
        {"name": "hour", "type": "integer", "missing": None, "minimum": 0, "maximum": 99},
        {"name": "metres", "type": "number", "missing": -1.0},
    ],
    "signature": "serving_default",
    "prediction": "fare",
}


class Meter(tf.Module):  # type: ignore[misc]  # tensorflow has no types
    """A taximeter."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])  # type: ignore[untyped-decorator]  # as above
    def __call__(self, examples: Any) -> dict[str, Any]:  # noqa: ANN401  # as above
        """Return fares, USD, [batch, 1]."""
        trips = tf.io.parse_example(examples, SPEC)
        hour, metres = tf.cast(trips["hour"], tf.float32), trips["metres"]
        fare = hour + tf.where(metres < 0, 5.0, 0.001 * metres)
        fare = tf.where(hour == 98, -fare, fare)
        return {"fare": tf.where(hour == 99, tf.constant(float("nan")), fare)}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    meter = Meter()
    tf.saved_model.save(meter, str(folder), signatures={"serving_default": meter.__call__})
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "instance.json").write_text(json.dumps(CONTRACT))
