"""The choice of golden rows, which depends on the rows alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from taxi_ml.evaluation.choice import DRAWN, MOST_ROWS, Choice
from taxi_ml.modules.features import HISTORY, INPUTS, MISSING, NULLABLE_FLOATS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from taxi_ml.evaluation.choice import Chosen

ROWS = 3000


def trips(*, tracts: int = 40, seed: int = 1) -> dict[str, NDArray[Any]]:
    """Return made-up inputs, of which a fifth of the numbers is absent."""
    dice = np.random.default_rng(seed)
    columns: dict[str, NDArray[Any]] = {
        name: np.where(dice.random(ROWS) < 0.2, MISSING, dice.exponential(1000, ROWS))
        if name in NULLABLE_FLOATS
        else dice.integers(0, 24, ROWS)
        for name in INPUTS
    }
    return columns | {"pickup_census_tract": dice.integers(0, tracts, ROWS)}


def chosen(columns: dict[str, NDArray[Any]], order: NDArray[Any], batch: int) -> list[Chosen]:
    """Look at the rows in an order and in batches; a row's record is its place."""
    lots = np.random.default_rng(9).permutation(ROWS)
    records = np.array([b"%d" % place for place in range(ROWS)], object)
    choice = Choice()
    for start in range(0, ROWS, batch):
        rows = order[start : start + batch]
        inputs = {name: column[rows] for name, column in columns.items()}
        slicing = {name: inputs[name] for name in ("pickup_census_tract", "TripStartHour")}
        choice.look(records[rows], lots[rows], inputs, slicing)
    return choice.rows()


def by_reason(found: list[Chosen]) -> dict[str, int]:
    """Return the place of the row that was chosen for each reason."""
    return {why: int(each.record) for each in found for why in each.why if why != DRAWN}


@pytest.mark.parametrize("batch", [1, 700, ROWS])
def test_neither_order_nor_batches_matter(batch: int) -> None:
    """The same rows, in files of any number and order, give the same choice."""
    columns, place = trips(), np.arange(ROWS)
    expected = chosen(columns, place, 512)

    assert chosen(columns, np.random.default_rng(2).permutation(ROWS), batch) == expected


def test_the_ends_of_each_input_are_chosen() -> None:
    """Each input's smallest and largest value is there; an absent number is no value."""
    columns = trips()
    rows = by_reason(chosen(columns, np.arange(ROWS), 512))

    for name, column in columns.items():
        known = column[column != MISSING] if name in NULLABLE_FLOATS else column
        assert column[rows[f"smallest {name}"]] == known.min()
        assert column[rows[f"largest {name}"]] == known.max()


def test_absent_numbers_are_chosen() -> None:
    """There is a row without each number, one without averages, and the one with the fewest numbers."""
    columns = trips()
    rows = by_reason(chosen(columns, np.arange(ROWS), 512))
    absent = np.sum([columns[name] == MISSING for name in NULLABLE_FLOATS], axis=0)

    assert all(columns[name][rows[f"no {name}"]] == MISSING for name in NULLABLE_FLOATS)
    assert all(columns[name][rows["no averages"]] == MISSING for name in HISTORY)
    assert absent[rows["fewest numbers"]] == absent.max()


def test_each_slice_is_chosen_while_there_is_room() -> None:
    """All values of a slice have a row of theirs, and the rest is drawn at random."""
    columns = trips()
    found = chosen(columns, np.arange(ROWS), 512)
    rows = by_reason(found)

    assert len(found) == len({each.record for each in found}) == MOST_ROWS
    for feature in ("pickup_census_tract", "TripStartHour"):
        for value in np.unique(columns[feature]):
            assert columns[feature][rows[f"{feature} {value}"]] == value
    assert found[-1].why == (DRAWN,)


def test_the_largest_slices_come_first() -> None:
    """With more values than room, those with the most rows are there, after the slices of fewer values."""
    columns = trips(tracts=1500)
    found = chosen(columns, np.arange(ROWS), 512)
    rows = by_reason(found)
    values, counts = np.unique(columns["pickup_census_tract"], return_counts=True)
    taken = np.array([f"pickup_census_tract {value}" in rows for value in values])

    assert len(found) == MOST_ROWS
    assert {f"TripStartHour {hour}" for hour in range(24)} <= rows.keys()
    assert f"pickup_census_tract {values[counts.argmax()]}" in rows
    # A slice that found no room may still be that of a row that is there for another reason.
    assert counts[taken].mean() > counts[~taken].mean()


def test_few_rows_are_all_chosen() -> None:
    """A split with fewer rows than room is taken whole."""
    columns = {name: column[:5] for name, column in trips().items()}
    choice = Choice()
    choice.look(np.array([b"%d" % row for row in range(5)], object), np.arange(5), columns, {})

    assert sorted(each.record for each in choice.rows()) == [b"0", b"1", b"2", b"3", b"4"]
