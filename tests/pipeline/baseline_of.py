"""Train the baseline on made-up trips and print what it predicts, as JSON; for the pipeline environment.

`python -m tests.pipeline.baseline_of FOLDER`: the folder is that of the log.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.fare_models.trips import FLOATS, INTEGERS, serialized
from taxi_ml.evaluation.baseline import BoostedTrees

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = 2000
AREAS = 400
METRES = 8000.0
UNKNOWN = dict.fromkeys(FLOATS, -1.0) | dict.fromkeys(INTEGERS, 0)


def examples(trips: list[dict[str, Any]]) -> NDArray[Any]:
    """Serialize trips that give only some columns; the others are unknown."""
    rows = [{name: [value] for name, value in (UNKNOWN | trip).items()} for trip in trips]
    return np.array(serialized(rows), object)


def taximeter(generator: np.random.Generator) -> list[dict[str, Any]]:
    """Make trips whose fare is 3 USD and 1 USD a kilometre; the first 400 areas cost 20 USD more or not."""
    return [
        {
            "rawDistance": float(metres),
            "pickup_census_tract": int(area),
            "fare": 3.0 + metres / 1000 + 20.0 * bool(area > AREAS / 2),
        }
        for metres, area in zip(
            generator.uniform(0, 20_000, ROWS), generator.integers(1, AREAS + 1, ROWS), strict=True
        )
    ]


def main() -> None:
    """Train on sound fares twice, with a few that are absurd, without distances, and on a single trip."""
    sound = taximeter(np.random.default_rng(1))
    absurd = [trip | {"fare": 5000.0} if index % 50 == 0 else trip for index, trip in enumerate(sound)]
    blank = [{name: trip[name] for name in ("pickup_census_tract", "fare")} for trip in sound]
    asked = examples(
        [
            {"rawDistance": METRES, "pickup_census_tract": 5},
            {"rawDistance": METRES, "pickup_census_tract": AREAS - 5},
            {},
        ]
    )
    known = examples(sound)
    trained = {
        "sound": BoostedTrees.trained(known, seed=1),
        "again": BoostedTrees.trained(known, seed=1),
        "absurd": BoostedTrees.trained(examples(absurd), seed=1),
        "blank": BoostedTrees.trained(examples(blank), seed=1),
        "few": BoostedTrees.trained(known[:1], seed=1),
    }
    found = {name: trees.predict(asked).tolist() for name, trees in trained.items()}
    print(json.dumps(found))  # noqa: T201  # its answer


if __name__ == "__main__":
    main()
