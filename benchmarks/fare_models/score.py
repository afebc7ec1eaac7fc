"""Train every model on some windows: `python -m benchmarks.fare_models.score <folder> …`.

Runs in the pipeline environment; reads request.json of each folder and writes chosen.json, what the Tuner
chose, and errors.json there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.fare_models import product, simple
from benchmarks.fare_models.errors import BASELINE
from benchmarks.fare_models.trips import column, read
from taxi_ml.modules import features


def main(folder: Path) -> None:
    """Train, predict the test rows, and write predicted minus true fare by model."""
    request = json.loads((folder / "request.json").read_text())
    known = {split: read(Path(request["data"], split)) for split in ("train", "eval")}
    if request["search_only"]:
        product.transform(known, folder)
        (folder / "chosen.json").write_text(json.dumps(product.search(folder, request["options"])["values"]))
        return
    asked = read(Path(request["data"], "test"))
    chosen = product.train(known, folder, steps=request["steps"], options=request["options"])
    (folder / "chosen.json").write_text(json.dumps(chosen))
    both = known["train"] + known["eval"]
    predicted = {
        "product": product.predict(folder, asked),
        BASELINE: simple.boosted_trees(known["train"], asked),
        "line": simple.line(both, asked),
        "mean": simple.mean_fare(both, asked),
    }
    fares = column(asked, features.LABEL)
    errors = {name: (values - fares).tolist() for name, values in predicted.items()}
    (folder / "errors.json").write_text(json.dumps(errors))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        main(Path(name))
