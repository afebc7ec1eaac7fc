"""The number of test months that the number of trips decides."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxi_ml.gate.champion import Champion
from taxi_ml.gate.decision import objections
from taxi_ml.months import MOST_MONTHS, Choice, Usable, choose, longest, rows_wanted
from taxi_ml.window import Window
from tests.taxi_ml.reports import POLICY

WINDOW = Window(end=date(2015, 7, 1), train_months=24, test_months=1)
WANTED = 1140
LEAST = 1000
COUNTS = st.lists(st.integers(0, 3000), min_size=30, max_size=30)


def usable(*counts: int, window: Window = WINDOW, newest: date | None = None, earlier: int = 400) -> Usable:
    """Return the trips of the last months, the last one first, before which each month has `earlier` ones."""
    months = [window.with_test_months(number).test_start for number in range(1, 31)]
    every = [*counts, *[earlier] * (len(months) - len(counts))]
    last = window.end - timedelta(days=1) if newest is None else newest
    return Usable(by_month=dict(zip(months, every, strict=True)), newest=last, tolerated=1)


def chosen(found: Usable, window: Window = WINDOW, until: date | None = None) -> Choice:
    """Return the choice for a window and a champion that was trained until a day."""
    return choose(window, found, wanted=WANTED, least_train=LEAST, learned_until=until)


@pytest.mark.parametrize(
    ("counts", "months"),
    [((1140,), 1), ((1139, 1), 2), ((380, 380, 380), 3), ((10**6,), 1), ((200,) * 6, 6), ((0,) * 6, 6)],
)
def test_the_fewest_months_with_enough_trips(counts: tuple[int, ...], months: int) -> None:
    """A month that is large enough is tested on alone; small ones are tested on together."""
    assert chosen(usable(*counts)).months == months


@given(COUNTS, st.integers(0, 8))
def test_no_fewer_months_would_do(counts: list[int], since: int) -> None:
    """One month fewer has too few trips, and a limit is named only where there are too few."""
    until = WINDOW.with_test_months(since).test_start if since else None
    choice = chosen(usable(*counts), until=until)

    assert choice.rows == sum(counts[: choice.months])
    assert choice.months == 1 or sum(counts[: choice.months - 1]) < WANTED
    assert (choice.limit == "") == (choice.rows >= WANTED)
    assert 1 <= choice.months <= min(MOST_MONTHS, since or MOST_MONTHS)


def test_the_reason_is_in_words() -> None:
    """The log has the months, the trips and the rule."""
    assert chosen(usable(400, 400, 400)).describe() == (
        "3 test months, chosen by the number of trips: about 1,200, and the policy's margin needs 1,140"
    )


def test_a_champion_of_fewer_test_months_limits() -> None:
    """It has learned from the second month back; the log says so, and what power is left."""
    choice = chosen(usable(400, 400, 400), until=date(2015, 6, 1))

    assert (choice.months, choice.rows) == (1, 400)
    assert choice.describe() == (
        "1 test month, chosen by the number of trips: about 400, and the policy's margin needs 1,140. "
        "An equal model passes it in about 38% of such runs. The champion has learned from the trips before "
        "2015-06-01"
    )


@pytest.mark.parametrize("until", [date(2015, 7, 1), date(2015, 9, 1)])
def test_a_champion_that_leaves_no_month_limits_nothing(until: date) -> None:
    """The run is refused elsewhere, or only evaluates."""
    assert chosen(usable(400, 400, 400), until=until).months == 3


def test_a_champion_that_learned_from_half_a_month_leaves_none_of_it() -> None:
    """Its training ended within June, so that June is not whole any more."""
    assert chosen(usable(400, 400, 400), until=date(2015, 5, 2)).months == 1


def test_a_young_table_keeps_trips_to_train_on() -> None:
    """Test months do not take what the policy asks for in the training months."""
    choice = chosen(usable(400, 400, 400, 400, 400, earlier=0))

    assert (choice.months, choice.limit) == (2, "More would leave fewer than 1,000 trips to train on")


def test_training_months_are_counted_by_their_number() -> None:
    """What was driven before them is not trained on, and leaves nothing to train on."""
    window = Window(end=date(2015, 7, 1), train_months=3, test_months=1)

    assert chosen(usable(100, 400, 400, 400, 400, earlier=10), window).months == 2
    assert chosen(usable(100, 400, 400, 400, 400, 400, 400, earlier=10), window).months == 4


def test_a_month_that_is_still_arriving_counts_as_the_one_before() -> None:
    """Half of the last month's trips, on the day after it, do not make the run test on more months."""
    assert chosen(usable(600, 1200)).months == 2
    assert chosen(usable(600, 1200, newest=date(2015, 6, 16))).months == 1
    assert chosen(usable(600, 1200, newest=date(2015, 6, 29))).months == 2


def test_a_table_without_trips_is_for_others_to_refuse() -> None:
    """Nothing is known, and the run stops where trips are missing."""
    assert chosen(Usable(by_month={}, newest=None, tolerated=1)).months == 1


@pytest.mark.parametrize(("margin", "rows"), [(0.02, 1140), (0.01, 4560), (0.04, 285), (0.0, math.inf)])
def test_the_margin_says_how_many_rows(margin: float, rows: float) -> None:
    """Half the margin needs four times as many; no number is enough for none."""
    assert rows_wanted(replace(POLICY, margin=replace(POLICY.margin, mae=margin))) == pytest.approx(rows)


def test_no_number_is_enough_for_no_margin() -> None:
    """The most months are tested on, and the power that is left is told."""
    choice = choose(WINDOW, usable(400), wanted=math.inf, least_train=LEAST)

    assert (choice.months, round(choice.power, 3)) == (6, 0.025)
    assert "the policy's margin needs more than there can be. An equal model" in choice.describe()


@pytest.mark.parametrize(("rows", "power"), [(1140, 0.8), (380, 0.37), (10**6, 1.0)])
def test_the_power_is_that_of_the_normal_distribution(rows: int, power: float) -> None:
    """The rows that are wanted give 80 %."""
    assert Choice(months=1, rows=rows, wanted=WANTED, limit="").power == pytest.approx(power, abs=0.005)


def test_the_months_that_may_become_test_months_are_counted() -> None:
    """So is what would be left to train on."""
    assert longest(WINDOW) == Window(end=WINDOW.end, train_months=24, test_months=6)


@given(COUNTS, st.lists(st.sampled_from(["reject", "promote", "refit"]), min_size=24, max_size=24))
def test_a_monthly_schedule_is_never_refused(counts: list[int], verdicts: list[str]) -> None:
    """Whatever the months hold and the gate decides, each run can be compared with the champion it meets."""
    serving, every = Champion(), counts * 2
    for number, verdict in enumerate(verdicts):
        window = Window(end=date(2015 + number // 12, number % 12 + 1, 1), train_months=24, test_months=1)
        found = usable(*reversed(every[number : number + 30]), window=window)
        until = serving.training.until if serving.training else None
        window = window.with_test_months(chosen(found, window, until).months)

        assert objections(serving, window.id, compared=True) == ()

        if verdict != "reject":
            end = window.end if verdict == "refit" else window.test_start
            labels = {"trained_from": f"{window.train_start}", "trained_until": f"{end}"}
            serving = Champion.of(name="m", uri="gs://b/m", labels={"window": window.id, **labels})


@given(COUNTS)
def test_rejected_months_leave_room_for_more_rows(counts: list[int]) -> None:
    """While a champion stays, each month adds one to test on, until there are enough or the most."""
    until = date(2015, 6, 1)
    found = []
    for number in range(MOST_MONTHS):
        window = Window(end=date(2015, 7 + number, 1), train_months=24, test_months=1)
        choice = chosen(usable(*counts[number:], window=window), window, until)
        found.append(choice.rows >= WANTED or choice.months == number + 1 or "fewer than" in choice.limit)

    assert all(found)
