"""Train models and ask them for quotes: `python -m benchmarks.fare_models.quotes <folder>`.

Runs in the pipeline environment; reads request.json and writes quotes.txt there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.fare_models import product
from benchmarks.fare_models.trips import column, read
from taxi_ml.modules import averages, domains, features, intervals
from taxi_ml.modules.averages import PairAverages
from taxi_ml.modules.intervals import Intervals

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rows = list[dict[str, list[Any]]]
HISTORIES = ("full", "table", "none")


def main(folder: Path) -> None:
    """Train on each window, ask, and write the pooled figures."""
    request = json.loads((folder / "request.json").read_text())
    own: list[dict[str, NDArray[Any]]] = []
    following: list[dict[str, NDArray[Any]]] = []
    for number, (window, after) in enumerate(request["folders"]):
        place = folder / str(number)
        place.mkdir()
        known = {split: read(Path(window, split)) for split in ("train", "eval")}
        options = request["options"] | {"averages": f"{window}/averages/pairs_*.csv"}
        product.train(known, place, steps=request["steps"], options=options)
        own.append(quotes(place, read(Path(window, "test"))))
        following.append(quotes(place, read(Path(after, "test"))))
    lines = [*_described("own test months", own), *_described("months after the window", following)]
    (folder / "quotes.txt").write_text("\n".join(lines))


def quotes(folder: Path, trips: Rows) -> dict[str, NDArray[Any]]:
    """Ask the model in `folder`/model for each trip, with each kind of history."""
    model = folder / "model"
    table = PairAverages.load((model / averages.FILE).open("rb"))
    found = Intervals.parse(json.loads((model / intervals.FILE).read_text()))
    domain = domains.Domain.parse(json.loads((model / domains.FILE).read_text()))
    metres = np.array([trip[intervals.FEATURE][0] for trip in trips])
    asked = {"full": trips, "table": with_table(trips, table), "none": without(trips)}
    answers: dict[str, NDArray[Any]] = {
        "fares": column(trips, features.LABEL),
        "metres": metres,
        "around": found.around(metres),
        "outside": np.array([bool(domain.outside({k: v[0] for k, v in trip.items()})) for trip in trips]),
    }
    return answers | {name: product.predict(folder, rows) for name, rows in asked.items()}


def without(trips: Rows) -> Rows:
    """Take the history from trips."""
    return [trip | {name: [averages.MISSING] for name in averages.NAMES} for trip in trips]


def with_table(trips: Rows, table: PairAverages) -> Rows:
    """Give trips the history of the table, as the server does."""
    found = table.find(np.array([[trip[name][0] for name in averages.AREAS] for trip in trips]))
    return [
        trip | {name: [float(value)] for name, value in zip(averages.NAMES, values, strict=True)}
        for trip, values in zip(trips, found, strict=True)
    ]


def _described(title: str, months: list[dict[str, NDArray[Any]]]) -> list[str]:
    """Return lines with the errors, USD, of each history, and coverage and widths of the intervals."""
    every = {name: np.concatenate([month[name] for month in months]) for name in months[0]}
    errors = {name: every[name] - every["fares"] for name in HISTORIES}
    mae = {name: np.abs(values).mean() for name, values in errors.items()}
    lines = [f"{title}: {len(every['fares'])} trips, {every['outside'].mean():.1%} outside of the domain"]
    for name in HISTORIES:
        rmse = np.sqrt((errors[name] ** 2).mean())
        low, high = (every[name][:, None] + every["around"]).T
        inside = (every["fares"] >= low) & (every["fares"] <= high)
        lines.append(
            f"  history {name:5}  MAE {mae[name]:.3f} ({mae[name] / mae['full'] - 1:+.1%})  RMSE {rmse:.3f}"
            f"  coverage {inside.mean():.1%}  median width {np.median(high - low):.2f} USD"
        )
    low, high = (every["full"][:, None] + every["around"]).T
    inside = (every["fares"] >= low) & (every["fares"] <= high)
    band = np.searchsorted(np.array(intervals.STARTS), every["metres"], side="right") - 1
    for number, start in enumerate(intervals.STARTS):
        if (of_band := band == number).any():
            lines.append(
                f"    from {start:>7.0f} m: {of_band.sum():5} trips, coverage {inside[of_band].mean():.1%}, "
                f"median width {np.median((high - low)[of_band]):.2f} USD"
            )
    coverages = [
        float(
            np.mean(
                (m["fares"] >= m["full"] + m["around"][:, 0]) & (m["fares"] <= m["full"] + m["around"][:, 1])
            )
        )
        for m in months
    ]
    lines.append(f"  coverage by month: {', '.join(f'{each:.1%}' for each in coverages)}")
    return lines


if __name__ == "__main__":
    main(Path(sys.argv[1]))
