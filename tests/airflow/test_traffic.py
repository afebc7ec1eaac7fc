from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertex_airflow import traffic


@st.composite
def splits(draw: st.DrawFn) -> dict[str, int]:
    """Traffic splits of an endpoint: shares that sum to 100, or none at all."""
    cuts = sorted(draw(st.lists(st.integers(0, 100), max_size=5)))
    if draw(st.booleans()) and not cuts:
        return {}
    bounds = [0, *cuts, 100]
    return {str(number): high - low for number, (low, high) in enumerate(itertools.pairwise(bounds))}


@given(split=splits(), share=st.integers(1, 100))
def test_a_new_share_keeps_the_sum(split: dict[str, int], share: int) -> None:
    """Whatever the split was, the shares sum to 100 afterwards."""
    changed = traffic.with_share(split, "new", share)

    assert sum(changed.values()) == 100


@given(split=splits(), share=st.integers(1, 100))
def test_the_new_model_gets_its_share_where_others_serve(split: dict[str, int], share: int) -> None:
    """The share is exact when there is other traffic, and everything when there is none."""
    changed = traffic.with_share(split, "new", share)

    assert changed["new"] == (share if any(split.values()) else 100)


@given(split=splits(), share=st.integers(1, 99))
def test_taking_a_share_away_restores_one_champion(split: dict[str, int], share: int) -> None:
    """Rolling back leaves no share behind, and the sum is 100 or nothing serves."""
    restored = traffic.without(traffic.with_share(split, "new", share), "new")

    assert "new" not in restored
    assert sum(restored.values()) in ({100} if any(split.values()) else {0})


@given(split=splits(), share=st.integers(1, 100))
def test_a_share_goes_back_exactly(split: dict[str, int], share: int) -> None:
    """Whatever share was taken, and from how many, its return leaves every percent where it was."""
    before = {deployed: part for deployed, part in split.items() if part}

    assert before == traffic.restored(traffic.with_share(before, "new", share), "new", before)


@given(before=splits(), now=splits(), share=st.integers(1, 99))
def test_a_change_of_the_others_survives(before: dict[str, int], now: dict[str, int], share: int) -> None:
    """If a person has changed the other shares, they keep their proportion, and the sum is 100."""
    restored = traffic.restored(traffic.with_share(now, "new", share), "new", before)

    assert "new" not in restored
    assert sum(restored.values()) == (100 if any(now.values()) or any(before.values()) else 0)


def test_a_model_without_traffic_has_nothing_to_give_back() -> None:
    """A split in which it has no share is left alone, even where it differs from what was."""
    assert traffic.restored({"old": 100}, "new", {"other": 100}) == {"old": 100}


def test_one_champion_gets_everything_back() -> None:
    """Rolling back a canary on a single champion restores exactly what was."""
    restored = traffic.without({"old": 90, "new": 10}, "new")

    assert restored == {"old": 100}


@pytest.mark.parametrize(
    ("split", "expected"),
    [({}, None), ({"a": 0}, None), ({"a": 10, "b": 90}, "b"), ({"b": 50, "a": 50}, "a")],
)
def test_the_champion_has_most_traffic(split: dict[str, int], expected: str | None) -> None:
    """The busiest deployed model is the champion; nothing is, where nothing has traffic."""
    busiest = traffic.busiest(split)

    assert expected == busiest


@pytest.mark.parametrize("share", [0, -1, 101])
def test_impossible_shares_are_refused(share: int) -> None:
    """A share is a percentage above zero."""
    with pytest.raises(ValueError, match="1 to 100"):
        traffic.with_share({"old": 100}, "new", share)
