"""Stored predictions of invented models, for the replay's tests."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from taxi_ml.evaluation import scores
from taxi_ml.gate.metrics import Role
from taxi_ml.gate.report import Challenger, Hashes, Report
from taxi_ml.replay.stored import BASELINE, Fault, Judged, Month, Rows, Stored, end_of
from taxi_ml.sql.counts import SplitCounts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taxi_ml.replay.stored import Numbers

ROWS = 400
_EPOCH = date(1970, 1, 1)


def window(number: int) -> str:
    """Return the id of the window that ends `number` months after January 2015."""
    return f"{2015 + number // 12}-{number % 12 + 1:02}_train24_test1"


def rows_of(month: str, count: int, generator: np.random.Generator) -> Rows:
    """Return invented trips in the month before the window's end."""
    end = (end_of(month) - _EPOCH).days
    metres = generator.gamma(2, 2000, count)
    return Rows(
        fares=3.0 + metres / 500,
        days=generator.integers(end - 28, end, count),
        metres=metres,
        slicing={
            "TripStartHour": generator.integers(0, 24, count),
            "pickup_census_tract": generator.integers(0, 5, count),
            "distance_km": np.array(["0-2", "2-5"])[(metres > 2000).astype(int)],
        },
    )


def report_of(month: str, rows: Rows, own: Numbers, baseline: Numbers) -> Report:
    """Return the report of a run that compared with the baseline only."""
    scored = scores.Predictions(fares=rows.fares, challenger=own, champion=None, baseline=baseline)
    return Report(
        window=month,
        rows=SplitCounts(train=6000, eval=300, test=len(rows.fares)),
        challenger=Challenger(uri=f"gs://b/{month}", metrics=scores.metrics(rows.fares, own)),
        champion=None,
        difference=None,
        references=(scores.reference(Role.BASELINE, scored, baseline, name="trees", uri="", seed=1),),
        slices=(),
        anomalies=(),
        tuner=None,
        blessed=True,
        hashes=Hashes(modules="", request="", data=""),
    )


def stored(noise: Sequence[float], *, rows: int = ROWS, seed: int = 1) -> Stored:
    """Return months whose models err by a common error and by normal noise of these USD."""
    generator = np.random.default_rng(seed)
    names = [window(number) for number in range(len(noise))]
    months = []
    for place, name in enumerate(names):
        trips = rows_of(name, rows, generator)
        common = trips.fares + generator.normal(0, 1.0, rows)
        predictions = {
            model: common + generator.normal(0, noise[which], rows)
            for which, model in enumerate(names[: place + 1])
        }
        baseline = common + generator.normal(0, 1.0, rows)
        judged = Judged(
            rows=trips,
            predictions={**predictions, BASELINE: baseline},
            report=report_of(name, trips, predictions[name], baseline),
        )
        months.append(Month(id=name, rows=trips, predictions=judged.predictions, judged=judged))
    return Stored(months=tuple(months))


def fault(months: Stored, place: int, *, usd: float) -> Fault:
    """Return a fault of a month whose model predicts so much too much."""
    month = months.months[place]
    broken = month.predictions[month.id] + usd
    predictions = {**month.predictions, month.id: broken}
    report = report_of(month.id, month.rows, broken, month.predictions[BASELINE])
    return Fault(
        name="too high",
        month=month.id,
        judged=Judged(rows=month.rows, predictions=predictions, report=report),
        later={later.id: later.predictions[month.id] + usd for later in months.months[place + 1 :]},
    )
