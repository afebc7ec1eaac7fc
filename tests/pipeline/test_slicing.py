"""Errors in slices, against those of each slice's rows alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.taxi_pipeline import bootstrap
from taxi_ml.evaluation import scores
from taxi_ml.evaluation.scores import Predictions
from taxi_ml.evaluation.slicing import slices
from taxi_ml.gate.metrics import DIFFERENCES, Interval
from taxi_ml.gate.policy import LEAST_SLICE_ROWS

if TYPE_CHECKING:
    from taxi_ml.gate.metrics import Slice

NAMES = np.array(["unknown", "0-2", "10+"])


def sliced(rows: int, *, seed: int = 1) -> tuple[Predictions, np.ndarray, tuple[Slice, ...]]:
    """Return heavy-tailed errors of three models, a band for each row, and the slices."""
    found = bootstrap.with_heavy_tails(rows, seed=seed)
    baseline = found.fares + 2 * np.random.default_rng(seed).standard_t(3, rows)
    scored = Predictions(
        fares=found.fares, challenger=found.challenger, champion=found.champion, baseline=baseline
    )
    bands = NAMES[np.random.default_rng(seed + 1).integers(3, size=rows)]
    return scored, bands, slices(scored, {"distance_km": bands})


def test_every_slice_has_the_metrics_of_its_rows() -> None:
    """All models are scored in each slice as on those rows alone, in the order of the values."""
    scored, bands, found = sliced(400)

    assert [part.name for part in found] == ["distance_km=0-2", "distance_km=10+", "distance_km=unknown"]
    for part in found:
        rows = scored.of(bands == part.value)
        for name, model in (("challenger", rows.challenger), ("champion", rows.champion)):
            assert model is not None
            expected = scores.metrics(rows.fares, model)
            assert _numbers(getattr(part, name)) == pytest.approx(_numbers(expected))
        assert rows.baseline is not None
        assert _numbers(part.baseline) == pytest.approx(_numbers(scores.metrics(rows.fares, rows.baseline)))
        assert part.count == len(rows.fares)


def _numbers(scored: object) -> list[float]:
    names = ("rmse", "clipped_rmse", "mae", "count", "mean_label", "mean_prediction")
    return [getattr(scored, name) for name in names]


def test_standard_errors_are_those_of_the_bootstrap() -> None:
    """Where the rows are many, the normal interval and its standard error are the bootstrap's, to a tenth."""
    scored, bands, found = sliced(6000)
    for part in found:
        rows = scored.of(bands == part.value)
        expected = scores.difference(rows, seed=3)
        assert expected is not None
        assert part.difference is not None
        for metric in ("clipped_rmse", "mae"):
            ours, theirs = getattr(part.difference, metric), getattr(expected, metric)
            assert ours.estimate == pytest.approx(theirs.estimate)
            assert ours.error == pytest.approx(theirs.error, rel=0.1)
            assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.4 * ours.error)


def test_few_rows_have_no_difference() -> None:
    """A slice below the least number of rows has metrics and no difference."""
    hours = np.array([8] * LEAST_SLICE_ROWS + [9] * (LEAST_SLICE_ROWS - 1))
    truth = np.arange(len(hours), dtype=np.float64)
    scored = Predictions(fares=truth, challenger=truth + 1, champion=truth - 2, baseline=truth)
    enough, few = slices(scored, {"TripStartHour": hours})

    assert (enough.name, few.name) == ("TripStartHour=8", "TripStartHour=9")
    assert enough.difference is not None
    assert enough.difference.mae == Interval(estimate=-1.0, low=-1.0, high=-1.0, error=0.0)
    assert enough.baseline_difference is not None
    assert enough.baseline_difference.rmse.estimate == 1.0
    assert (few.difference, few.baseline_difference) == (None, None)
    assert few.champion is not None
    assert few.champion.mae == 2.0


def test_models_that_do_not_exist_have_no_numbers() -> None:
    """Slices of a first model have its metrics only."""
    hours = np.array([8] * 40)
    (part,) = slices(
        Predictions(fares=np.ones(40), challenger=np.ones(40), champion=None), {"TripStartHour": hours}
    )

    assert (part.champion, part.difference, part.baseline, part.baseline_difference) == (None,) * 4


@pytest.mark.parametrize("broken", [math.nan, math.inf, 1e300])
def test_slice_of_a_diverged_model_has_no_number(broken: float) -> None:
    """One prediction that is not finite leaves its slice without the number, and the others with it."""
    hours = np.array([8] * 40 + [9] * 40)
    truth = np.arange(80.0)
    champion = truth + 1
    champion[3] = broken
    diverged, sound = slices(
        Predictions(fares=truth, challenger=truth + 2, champion=champion), {"TripStartHour": hours}
    )

    assert diverged.champion is not None
    assert diverged.champion.rmse is None
    assert (diverged.champion.clipped_rmse is None) == (not math.isfinite(broken))
    assert diverged.difference is not None
    assert diverged.difference.rmse.high is None
    assert sound.difference is not None
    for metric in DIFFERENCES:
        assert getattr(sound.difference, metric) == Interval(estimate=1.0, low=1.0, high=1.0, error=0.0)
