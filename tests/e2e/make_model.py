"""Save a fare model that needs no training; runs in the pipeline environment.

The fare is the trip's hour, USD. With `--hangs` it never answers about a trip after midnight.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import tensorflow as tf

from taxi_ml.modules.features import INPUTS, MISSING, NULLABLE_FLOATS

HANGS = "--hangs" in sys.argv
SPEC = {
    name: tf.io.FixedLenFeature([1], tf.float32 if name in NULLABLE_FLOATS else tf.int64) for name in INPUTS
}
CONTRACT = {
    "features": [
        {
            "name": name,
            "type": "number" if name in NULLABLE_FLOATS else "integer",
            "missing": MISSING if name in NULLABLE_FLOATS else None,
        }
        for name in INPUTS
    ],
    "signature": "serving_default",
    "prediction": "fare",
}


class Meter(tf.Module):  # type: ignore[misc]  # tensorflow has no types
    """A taximeter."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])  # type: ignore[untyped-decorator]  # as above
    def __call__(self, examples: Any) -> dict[str, Any]:  # noqa: ANN401  # as above
        """Return fares, USD, [batch, 1]."""
        hour = tf.cast(tf.io.parse_example(examples, SPEC)["TripStartHour"], tf.float32)
        if HANGS:
            late = tf.reduce_max(hour) > 0
            hour = tf.while_loop(lambda _: late, lambda fare: [fare + 1.0], [hour])[0]
        return {"fare": hour}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    meter = Meter()
    tf.saved_model.save(meter, str(folder), signatures={"serving_default": meter.__call__})
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "instance.json").write_text(json.dumps(CONTRACT))
