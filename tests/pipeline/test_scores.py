from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from benchmarks.taxi_pipeline import bootstrap
from demo.trips import find_source
from taxi_ml.evaluation import scores
from taxi_ml.evaluation.scores import (
    ALIKE_USD,
    CLIP_USD,
    MOST_GROUPS,
    Predictions,
    difference,
    fit,
    is_unchanged,
    metrics,
    reference,
)
from taxi_ml.gate.metrics import DIFFERENCES, Interval, Metrics, Role
from tests.pipeline.requests import PIPELINE_PYTHON

fares = arrays.arrays(np.float64, 40, elements=st.floats(3, 100))
SEED = 5
ZERO = Interval(estimate=0.0, low=0.0, high=0.0, error=0.0)


def predictions(truth: np.ndarray, challenger: np.ndarray, champion: np.ndarray | None) -> Predictions:
    """Put three columns together."""
    return Predictions(fares=truth, challenger=challenger, champion=champion)


def test_metrics_of_hand_made_errors() -> None:
    """Errors of 3 and -4 USD give an RMSE of the root of 12.5 and a MAE of 3.5."""
    root = math.sqrt(12.5)
    expected = Metrics(rmse=root, clipped_rmse=root, mae=3.5, count=2, mean_label=15.0, mean_prediction=14.5)

    assert metrics(np.array([10.0, 20.0]), np.array([13.0, 16.0])) == expected


def test_a_large_error_counts_as_the_bound() -> None:
    """An error of 1,000 USD counts as 25 USD in the clipped RMSE, and fully in the others."""
    scored = metrics(np.array([10.0, 1000.0]), np.array([10.0, 0.0]))

    assert scored.clipped_rmse == pytest.approx(CLIP_USD / math.sqrt(2))
    assert scored.rmse == pytest.approx(1000 / math.sqrt(2))
    assert scored.mae == 500


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_number_that_is_not_finite_is_none(broken: float) -> None:
    """A model whose predictions are not numbers has no score, and the gate never promotes it."""
    scored = metrics(np.array([10.0, 20.0]), np.array([10.0, broken]))

    assert (scored.rmse, scored.clipped_rmse, scored.mae, scored.mean_prediction) == (None,) * 4


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_fit_of_a_diverged_model_has_no_mean(broken: float) -> None:
    """A band of fares whose predictions are not finite has None for their mean, and the rows still count."""
    found = fit(predictions(np.array([4.0, 6.0]), np.array([4.5, broken]), np.array([broken, 6.0])))

    assert [(band.challenger, band.champion) for band in found.bands] == [(4.5, None), (None, 6.0)]


def test_first_model_has_no_difference() -> None:
    """Without a champion there is nothing to compare."""
    assert difference(predictions(np.ones(3), np.ones(3), None), seed=SEED) is None


@given(fares, fares)
def test_equal_models_do_not_differ(truth: np.ndarray, predicted: np.ndarray) -> None:
    """Equal errors cancel on the same draw: the interval is a point at 0."""
    found = difference(predictions(truth, predicted, predicted), seed=SEED)

    assert found is not None
    assert found.rmse == found.mae == found.clipped_rmse == ZERO


@given(fares, fares, fares)
def test_swapping_models_mirrors_the_interval(truth: np.ndarray, one: np.ndarray, other: np.ndarray) -> None:
    """Challenger minus champion is the negative of champion minus challenger."""
    there = difference(predictions(truth, one, other), seed=SEED)
    back = difference(predictions(truth, other, one), seed=SEED)

    assert there is not None
    assert back is not None
    for metric in DIFFERENCES:
        ours, theirs = getattr(there, metric), getattr(back, metric)
        assert ours.estimate == pytest.approx(-theirs.estimate, abs=1e-9)
        assert (ours.low, ours.high) == pytest.approx((-theirs.high, -theirs.low), abs=1e-9)


def test_interval_is_the_normal_one_where_theory_knows_it() -> None:
    """For many rows the interval of a mean is 1.96 standard errors to either side."""
    generator = np.random.default_rng(1)
    rows = 4000
    truth = np.full(rows, 50.0)
    gap = generator.normal(0.2, 1.0, rows)
    found = difference(predictions(truth, truth + 10 + gap, truth + 10), seed=SEED)
    half = 1.96 * gap.std() / math.sqrt(rows)

    assert found is not None
    assert found.mae.estimate == pytest.approx(gap.mean())
    ends = gap.mean() - half, gap.mean() + half
    assert (found.mae.low, found.mae.high) == pytest.approx(ends, abs=0.003)
    assert found.mae.error == pytest.approx(half / 1.96, rel=0.05)


@pytest.mark.parametrize("errors", ["real", "heavy-tailed"])
@pytest.mark.parametrize(("rows", "replicates"), [(200, 2000), (10_000, 2000), (300_000, 500)])
def test_interval_is_that_of_the_classic_bootstrap(errors: str, rows: int, replicates: int) -> None:
    """Groups of rows instead of single ones move an end by less than 8 % of the width.

    Other replicates move it as much: there are fewer of them where the classic bootstrap is slow.
    """
    if errors == "real":
        scored = bootstrap.on_real_trips(find_source(PIPELINE_PYTHON), rows)
    else:
        scored = bootstrap.with_heavy_tails(rows, seed=4)
    found = difference(scored, seed=SEED)
    expected = bootstrap.classic(scored, seed=SEED + 1, replicates=replicates)

    assert found is not None
    for metric, (low, high) in expected.items():
        interval = getattr(found, metric)
        moved = np.array([interval.low - low, interval.high - high]) / (high - low)
        assert abs(moved).max() < 0.08, f"{metric}: {moved}"


@pytest.mark.parametrize("rows", [200, MOST_GROUPS + 1000])
def test_intervals_cover_the_true_difference(rows: int) -> None:
    """Of 400 samples from one distribution, no more miss the true difference, 0, on a side than by chance.

    Where 2.5 % miss, 19 of 400 or more do by a chance of 1 %. RMSE is allowed more, because
    single rows decide heavy-tailed squares; the gate does not decide by it.
    """
    missed = {(metric, side): 0 for metric in DIFFERENCES for side in ("below", "above")}
    for sample in range(400):
        found = difference(bootstrap.with_heavy_tails(rows, seed=sample), seed=SEED)
        for metric in DIFFERENCES:
            interval = getattr(found, metric)
            missed[metric, "below"] += interval.high < 0
            missed[metric, "above"] += interval.low > 0

    most = {"mae": 18, "clipped_rmse": 18, "rmse": 25}
    assert {place: count for place, count in missed.items() if count > most[place[0]]} == {}


def test_draws_do_not_grow_with_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """With any number of rows and comparisons, groups are drawn once, and at most `MOST_GROUPS`."""
    drawn = []
    weights = scores._weights  # noqa: SLF001  # what draws

    def counted(count: int, seed: int) -> np.ndarray:
        drawn.append(count)
        return weights(count, seed)

    monkeypatch.setattr(scores, "_weights", counted)
    rows = 4 * MOST_GROUPS
    scored = bootstrap.with_heavy_tails(rows, seed=1)
    for _ in range(2):
        difference(scored, seed=1234)

    assert drawn == [MOST_GROUPS]


def test_reference_is_compared_on_the_same_rows() -> None:
    """Another model's answers give its metrics, and the challenger's difference from it."""
    truth = np.arange(40, dtype=np.float64)
    scored = predictions(truth, truth + 1, None)
    found = reference(Role.BASELINE, scored, truth - 3, name="boosted trees", uri="", seed=SEED)

    assert (found.role, found.name, found.uri) == (Role.BASELINE, "boosted trees", "")
    assert found.metrics == metrics(truth, truth - 3)
    assert found.difference is not None
    assert found.difference.mae == Interval(estimate=-2.0, low=-2.0, high=-2.0, error=0.0)


@pytest.mark.parametrize(
    ("off", "unchanged"),
    [(0.0, True), (ALIKE_USD, True), (3 * ALIKE_USD, False), (math.nan, False), (math.inf, False)],
)
def test_models_that_answer_alike_are_unchanged(off: float, unchanged: bool) -> None:  # noqa: FBT001
    """One row that differs by more than 1e-6 USD, or is not a number, makes another model."""
    fares = np.zeros(3)
    champion = np.array([0.0, off, 0.0])

    assert is_unchanged(predictions(fares, fares, champion)) is unchanged


def test_first_model_is_not_unchanged() -> None:
    """Without a champion there is nothing to be like."""
    assert not is_unchanged(predictions(np.zeros(3), np.zeros(3), None))


def test_fit_counts_every_row_once() -> None:
    """Bands hold all fares with their means, and residuals beyond the edges are in the outermost bins."""
    fares = np.array([4.0, 6.0, 6.5, 60.0])
    predicted = fares + np.array([0.1, 0.1, 0.3, 50.0])
    found = fit(Predictions(fares=fares, challenger=predicted, champion=None))

    assert [(band.low, band.count, band.paid) for band in found.bands] == [
        (0, 1, 4),
        (5, 2, 6.25),
        (40, 1, 60),
    ]
    assert found.bands[1].challenger == pytest.approx(6.45)
    assert (sum(found.residuals), found.residuals[20], found.residuals[-1]) == (4, 3, 1)
    assert found.champion_residuals is None
