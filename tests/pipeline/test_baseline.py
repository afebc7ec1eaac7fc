"""The boosted trees that a report compares with, as the pipeline environment trains them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from tests.pipeline.pipeline_python import run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.pipeline, pytest.mark.xdist_group("baseline")]


@pytest.fixture(scope="module")
def fares(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    """What trees predict for 8 km from a cheap area and from a dear one, and for nothing known, in USD."""
    folder: Path = tmp_path_factory.mktemp("baseline")
    found: dict[str, list[float]] = json.loads(run("tests.pipeline.baseline_of", folder))
    return found


def test_it_learns_distance_and_area(fares: dict[str, list[float]]) -> None:
    """Distance and the side of the city are found among 400 areas, more than categories may have values."""
    assert fares["sound"][:2] == pytest.approx([11.0, 31.0], abs=0.5)


def test_the_same_rows_give_the_same_trees(fares: dict[str, list[float]]) -> None:
    """The predictions agree to the last bit."""
    assert fares["sound"] == fares["again"]


def test_a_few_absurd_fares_do_not_move_it(fares: dict[str, list[float]]) -> None:
    """One fare in fifty is 5,000 USD, and the predictions stay: the loss is the absolute error."""
    assert fares["absurd"][:2] == pytest.approx(fares["sound"][:2], abs=0.5)


@pytest.mark.parametrize("name", ["sound", "blank", "few"])
def test_what_is_unknown_gets_a_fare(fares: dict[str, list[float]], name: str) -> None:
    """A trip of which nothing is known, a column that is never known, and a single row to learn from."""
    assert all(map(math.isfinite, fares[name]))
    assert all(2 < fare < 45 for fare in fares[name])
