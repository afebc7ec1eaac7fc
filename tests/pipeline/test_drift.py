"""Profiles of trips, and the distance between two."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxi_ml.evaluation.distances import jensen_shannon, l_infinity
from taxi_ml.modules import profiles

LAYOUT = {"area": ("ids", 0), "metres": ("numbers", 1, "absent", 0)}
VOCABULARY = ["pickup=8", "pickup=32"]
SHARES = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 1), min_size=1).map(
    lambda weights: {value: weight / sum(weights.values()) for value, weight in weights.items()}
)


def test_profile_names_categories_absence_and_bins() -> None:
    """A profile has a category by its value, unknown categories as new, and a number by its bin."""
    columns = {
        "ids": np.array([[0], [0], [1], [2]]),
        "numbers": np.array([[9, 0.1], [9, 0.2], [9, -7.0], [9, 0.0]]),
        "absent": np.array([[0], [0], [0], [1]]),
    }
    found = profiles.profile(columns, LAYOUT, VOCABULARY)

    assert found == {
        "area": {"8": 0.5, "32": 0.25, profiles.NEW: 0.25},
        "metres": {"0": 0.5, "-inf": 0.25, profiles.ABSENT: 0.25},
    }


def test_profile_has_the_label_in_tenths_of_the_training_rows() -> None:
    """Fares fall between edges of their own, which another currency would have as well."""
    fares = np.arange(1.0, 101.0)
    layout = {"fare": ("fare", 0, profiles.tenths(fares))}
    cents = profiles.profile({"fare": fares[:, None] * 100}, layout, [])
    found = profiles.profile({"fare": fares[:, None]}, layout, [])

    assert list(found["fare"].values()) == pytest.approx([0.1] * 10)
    assert jensen_shannon(found["fare"], cents["fare"]) > 0.5
    assert profiles.tenths(np.full(5, 7.0)) == [7.0]


def test_l_infinity_is_the_largest_difference_of_a_share() -> None:
    """The distance of categories is TFDV's, and new categories are counted elsewhere."""
    distance = l_infinity({"8": 0.7, "32": 0.3}, {"8": 0.3, "32": 0.3, profiles.NEW: 0.4})

    assert distance == pytest.approx(0.4)


def test_jensen_shannon_of_disjoint_distributions_is_one_bit() -> None:
    """Numbers that never fall into the same bin are as far apart as can be."""
    assert jensen_shannon({"a": 1.0}, {"b": 1.0}) == pytest.approx(1.0)


@given(SHARES, SHARES)
def test_distances_are_symmetric_and_between_0_and_1(one: dict[str, float], other: dict[str, float]) -> None:
    """Both distances are 0 for the same shares, the same both ways, and 1 at most."""
    for distance in (l_infinity, jensen_shannon):
        found = distance(one, other)

        assert math.isclose(found, distance(other, one), abs_tol=1e-9)
        assert -1e-9 <= found <= 1 + 1e-9
        assert math.isclose(distance(one, one), 0, abs_tol=1e-9)
