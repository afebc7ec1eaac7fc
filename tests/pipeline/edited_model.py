"""Train a copy of the product on exported trips: `python -m edited_model DATA FOLDER`.

Runs in the pipeline environment, in the folder of the copy. It prints the first test trip's fare as it is,
and with 1,000 and -1.0, which is unknown, in place of the new feature.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.fare_models import product
from benchmarks.fare_models.trips import read

FEATURE = "histOneWeek_trips"


def main(data: Path, folder: Path) -> None:
    """Transform, train briefly, export, and call the export's signature."""
    known = {split: read(data / split) for split in ("train", "eval")}
    product.train(
        known,
        folder,
        steps=40,
        options={
            "batch_size": 64,
            "seed": 20,
            "tuner_trials": 0,
            "tuner_steps": 0,
            "tuner_minutes": 1.0,
            "ranges": {FEATURE: (0, 10_000)},
        },
    )
    trip = read(data / "test")[0]
    asked = [trip, trip | {FEATURE: [1000.0]}, trip | {FEATURE: [-1.0]}]
    print(json.dumps(product.predict(folder, asked).tolist()))  # noqa: T201  # its answer


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
