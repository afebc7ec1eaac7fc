"""Rows that are stored in the order of time are not trained on in that order."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from taxi_ml.modules import sampling
from tests.pipeline.requests import PIPELINE_PYTHON, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.pipeline

ROWS = 12_000
HELD = 1000
MIDDLE = ROWS / 2
ERROR_OF_A_MEAN = ROWS / 12**0.5 / HELD**0.5
"""The standard error of the mean of 1,000 rows drawn from evenly spread ones."""


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The order in which the trainer reads 12,000 rows in the order of time with room for 1,000."""
    folder = tmp_path_factory.mktemp("rows")
    subprocess.run(
        [PIPELINE_PYTHON, "-m", "tests.pipeline.rows_of", folder],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "-1"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    found: dict[str, Any] = json.loads((folder / "read.json").read_text())
    return found


def test_every_pass_has_every_row_once(read: dict[str, Any]) -> None:
    """Scattering and shuffling lose nothing and repeat nothing."""
    for rows in read["training"]:
        assert sorted(rows) == list(range(ROWS))


def test_any_part_of_a_pass_is_of_all_times(read: dict[str, Any]) -> None:
    """Each twelfth of a pass, the first among them, has the mean of all rows within four standard errors."""
    for rows in read["training"]:
        means = [statistics.mean(rows[start : start + HELD]) for start in range(0, ROWS, HELD)]

        assert [mean for mean in means if abs(mean - MIDDLE) > 4 * ERROR_OF_A_MEAN] == []


def test_passes_differ_and_a_seed_repeats_them(read: dict[str, Any]) -> None:
    """The second pass has another order than the first, and the same seed gives both again."""
    first, second = read["training"]

    assert first != second
    assert read["training"] == read["again"]


def test_sample_is_of_all_times(read: dict[str, Any]) -> None:
    """The rows that are looked at before training are drawn from all, not the first ones."""
    sample = read["sample"]

    assert len(set(sample)) == HELD
    assert sample == sorted(sample)
    assert abs(statistics.mean(sample) - MIDDLE) < 4 * ERROR_OF_A_MEAN


def test_looks_see_the_same_rows(read: dict[str, Any]) -> None:
    """Each look at the eval split, and each trial's, has the same rows, drawn from all of them."""
    first, second, anew = read["look"]

    assert first == second == anew
    assert len(set(first)) == HELD
    assert abs(statistics.mean(first) - MIDDLE) < 4 * ERROR_OF_A_MEAN


def test_look_at_few_rows_is_at_all(read: dict[str, Any]) -> None:
    """An eval split below the cap is read in the order of its files."""
    assert read["look of few"][0] == list(range(HELD))


def test_training_batches_are_always_full(read: dict[str, Any]) -> None:
    """One pass runs into the next."""
    assert set(read["batches"]) == {64}


def in_batches(rows: int, size: int) -> Iterator[np.ndarray]:
    """Cut numbers into batches."""
    for start in range(0, rows, size):
        yield np.arange(start, min(start + size, rows)).astype(object)


def test_any_row_is_as_likely_to_be_drawn() -> None:
    """Over 400 seeds, rows at the beginning, in the middle and at the end are drawn equally often."""
    drawn = np.zeros(3000)
    for seed in range(400):
        sample = sampling.draw(in_batches(3000, 64), 300, seed=seed)
        assert sample.total == 3000
        drawn[sample.rows.astype(int)] += 1
    thirds = drawn.reshape(3, 1000).sum(axis=1) / drawn.sum()

    assert drawn.sum() == 400 * 300
    assert thirds == pytest.approx(np.full(3, 1 / 3), abs=0.005)
    assert drawn.max() < 400 * 0.1 + 6 * (400 * 0.1 * 0.9) ** 0.5


@pytest.mark.parametrize("rows", [0, 1, 299, 300])
def test_few_rows_are_all_drawn_in_their_order(rows: int) -> None:
    """If there is room for all rows, none is left out or moved."""
    sample = sampling.draw(in_batches(rows, 64), 300, seed=1)

    assert sample.rows.tolist() == list(range(rows))
    assert sample.total == rows
