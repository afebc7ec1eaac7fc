"""The gate's rules about the model that a challenger would replace."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxi_ml.gate import kept
from taxi_ml.gate.champion import Champion, Training, newest_first, parse_window
from taxi_ml.gate.decision import Override, Verdict, decide, objections
from taxi_ml.gate.reasons import ReasonCode
from taxi_ml.naming import job_labels
from taxi_ml.window import Window
from tests.taxi_ml import reports
from tests.taxi_ml.reports import CHAMPION, CHAMPION_NAME, POLICY, a_report

if TYPE_CHECKING:
    from taxi_ml.gate.policy import Policy
    from taxi_ml.gate.report import Report

RUN = "2015-03_train24_test1"
LATER = "2015-06_train24_test1"
ENDS = st.builds(date, st.integers(1960, 2100), st.integers(1, 12), st.just(1))
MONTHS = st.integers(1, 48)
WINDOWS = st.builds(Window, end=ENDS, train_months=MONTHS, test_months=st.integers(1, 6))
CHAMPIONS = st.builds(
    Champion.of,
    name=st.sampled_from(["", CHAMPION_NAME]),
    uri=st.just(CHAMPION),
    labels=WINDOWS.map(lambda w: {"window": w.id}),
)


def champion(window: str = "", uri: str = CHAMPION, **labels: str) -> Champion:
    """Return a champion that was trained for a window, with further labels."""
    return Champion.of(name=CHAMPION_NAME, uri=uri, labels={"window": window, **labels})


def objects(serving: Champion, window: str) -> bool:
    """Return whether anything is against comparing a run of this window with a champion."""
    return objections(serving, window, compared=True) != ()


def days(first: date, end: date) -> set[date]:
    """Return the firsts of the months from a day to before another."""
    every = (first + timedelta(days=count) for count in range((end - first).days))
    return {day for day in every if day.day == 1}


@given(WINDOWS)
def test_a_window_is_read_back_from_its_label(window: Window) -> None:
    """The label that a run writes on its model names the window that it was trained for."""
    assert parse_window(job_labels("d", "r", window)["window"]) == window


@given(st.text() | st.from_regex(r"[0-9]{4}-[0-9]{2}_train[0-9]{1,3}_test[0-9]{1,3}", fullmatch=True))
def test_any_other_label_says_nothing(text: str) -> None:
    """A foreign label gives no window, or exactly the one that it names."""
    window = parse_window(text)

    assert window is None or window.id == text


@given(WINDOWS, WINDOWS)
def test_learning_from_test_months_is_sharing_a_month(trained: Window, tested: Window) -> None:
    """A model has seen a run's test months when its training months and they have one in common."""
    shared = days(trained.train_start, trained.test_start) & days(tested.test_start, tested.end)

    assert champion(trained.id).has_learned_from(tested) == bool(shared)


@given(WINDOWS)
def test_a_month_may_be_run_again(window: Window) -> None:
    """The champion of the same window has not seen its test months."""
    assert not objects(champion(window.id), window.id)


@given(WINDOWS, MONTHS)
def test_a_champion_of_the_past_is_compared_with(window: Window, train_months: int) -> None:
    """Consecutive months are trained on one after the other, whatever the lengths of training."""
    earlier = Window(end=window.test_start, train_months=train_months, test_months=1)

    assert not objects(champion(earlier.id), window.id)


@given(WINDOWS, WINDOWS)
def test_of_two_windows_the_later_one_stays(one: Window, other: Window) -> None:
    """A model of a later window is not replaced, even if it was not trained on the test months."""
    if one.end > other.end:
        assert objects(champion(one.id), other.id)


@given(WINDOWS, WINDOWS)
def test_the_days_of_training_count_and_not_the_window(window: Window, run: Window) -> None:
    """A model that was trained until the end of its window has seen its own test months as well."""
    until = {"trained_from": f"{window.train_start}", "trained_until": f"{window.end}"}
    shared = days(window.train_start, window.end) & days(run.test_start, run.end)

    assert champion(window.id, **until).has_learned_from(run) == bool(shared)


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"trained_until": "2015-07-01"},
        {"trained_from": "2013-07-01"},
        {"trained_from": "yesterday", "trained_until": "2015-07-01"},
        {"trained_from": "2015-07-01", "trained_until": "2013-07-01"},
        {"trained_from": "2015-07-01", "trained_until": "2015-07-01"},
    ],
)
def test_labels_without_an_interval_leave_it_to_the_window(labels: dict[str, str]) -> None:
    """A version that was registered before there were such labels was trained on its window's months."""
    found = Training.of({"window": RUN, **labels})

    assert found == Training(start=date(2013, 2, 1), until=date(2015, 2, 1))


def test_labels_of_an_interval_need_no_window() -> None:
    """Another application's model may say what it was trained on."""
    found = Training.of({"trained_from": "2013-02-03", "trained_until": "2015-07-05"})

    assert found == Training(start=date(2013, 2, 3), until=date(2015, 7, 5))


def test_an_interval_without_a_day_is_refused() -> None:
    """Training that ends where it begins is a mistake of whoever says so."""
    with pytest.raises(ValueError, match="from 2015-07-01 until 2015-07-01 has no day"):
        Training(start=date(2015, 7, 1), until=date(2015, 7, 1))


@pytest.mark.parametrize(("until", "learned"), [("2015-02-01", False), ("2015-02-02", True)])
def test_one_day_of_the_test_months_is_enough(until: str, learned: bool) -> None:  # noqa: FBT001  # a parameter
    """The interval ends before `trained_until`; its last day counts."""
    window = Window(end=date(2015, 3, 1), train_months=24, test_months=1)

    assert champion(trained_from="2013-01-01", trained_until=until).has_learned_from(window) == learned


@pytest.mark.parametrize(
    ("window", "refused"),
    [
        (LATER, True),
        (RUN, False),
        ("2015-02_train24_test1", False),
        ("2016-06_train1_test1", True),
        ("2015-03_train24_test1x", False),
        ("2015-13_train24_test1", False),
        ("2015-03_train0_test1", False),
        ("1900-01_train24_test1", False),
        ("0000-01_train24_test1", False),
        ("", False),
    ],
)
def test_newer_champions(window: str, refused: bool) -> None:  # noqa: FBT001  # a parameter
    """A later window is newer; a string that is not a window is not."""
    assert objects(champion(window), RUN) == refused


def test_a_shorter_test_window_may_have_been_trained_on() -> None:
    """Windows with one end differ in what they train on."""
    assert objects(champion("2015-03_train24_test1"), "2015-03_train24_test2")
    assert not objects(champion("2015-03_train24_test2"), "2015-03_train24_test1")


@pytest.mark.parametrize("run", ["2015-03_train24_test1", "2015-05_train24_test1"])
def test_older_months_never_replace_the_champion_of_june(run: str) -> None:
    """February and April of 2015 are among its 24 months of training, and its window ends later."""
    serving = champion("2015-06_train24_test1")

    codes = [reason.code for reason in objections(serving, run, compared=True)]

    assert codes == [ReasonCode.CHAMPION_NEWER, ReasonCode.CHAMPION_NEWER]
    assert decide(POLICY, replace(a_report(), window=run), serving=serving).verdict is Verdict.REJECT


def test_labels_of_other_applications_are_no_window() -> None:
    """A label of the same name with another meaning is ignored."""
    labelled = [
        Champion.of(name="n", uri="u", labels=labels).window
        for labels in ({"window": LATER}, {"window": "bay"}, {})
    ]

    assert labelled == [LATER, "", ""]


def test_objections_say_what_was_seen_and_required() -> None:
    """Every reason names the model, the observed value and the required one."""
    missing, newer, learned = map(str, objections(champion(LATER), RUN, compared=False))

    assert missing == (
        f"champion_missing: SavedModel of {CHAMPION_NAME} is missing; required: saved_model.pb in {CHAMPION}"
    )
    assert newer == (f"champion_newer: window of {CHAMPION_NAME} is {LATER}; required: not later than {RUN}")
    assert learned == (
        f"champion_newer: training of {CHAMPION_NAME} is from 2013-05-01 until 2015-05-01; "
        f"required: none of the test months of {RUN}, from 2015-02-01 until 2015-03-01"
    )


def test_a_champion_without_a_folder_is_missing() -> None:
    """A model that was registered without an artifact cannot be compared with."""
    (reason,) = objections(champion(uri=""), RUN, compared=False)

    expected = "champion_missing", "missing", "saved_model.pb in an artifact_uri"

    assert (reason.code, reason.observed, reason.required) == expected


def test_nothing_is_missing_where_nothing_serves() -> None:
    """The first model has no champion to compare with."""
    assert objections(Champion(), RUN, compared=False) == ()


def test_a_report_without_the_champion_rejects() -> None:
    """A model that serves and is not compared with is not replaced, and the decision names it."""
    decision = decide(POLICY, a_report(with_champion=False), serving=champion())

    assert (decision.verdict, [reason.code for reason in decision.reasons], decision.champion) == (
        Verdict.REJECT,
        [ReasonCode.CHAMPION_MISSING],
        CHAMPION_NAME,
    )


def test_an_override_goes_on_with_the_absolute_rules() -> None:
    """An override for the champion's files promotes a sound model, and no other."""
    override = Override.of("its files have expired", ["champion_missing"])
    sound, unblessed = (
        decide(POLICY, replace(a_report(with_champion=False), blessed=blessed), override, champion())
        for blessed in (True, False)
    )

    assert (sound.verdict, unblessed.verdict) == (Verdict.PROMOTE, Verdict.REJECT)
    assert (sound.champion_rmse, sound.champion_mae) == (None, None)
    assert kept.parse(sound.to_json()) == sound


def test_a_newer_champion_rejects_unless_overridden() -> None:
    """Good numbers do not count if they come from trips that the champion was trained on."""
    given_report = replace(a_report(), window=RUN)
    override = Override.of("we go back", ["champion_newer"])

    verdicts = [
        decide(POLICY, given_report, each, serving).verdict
        for each, serving in ((None, champion(LATER)), (override, champion(LATER)), (None, champion(RUN)))
    ]

    assert verdicts == [Verdict.REJECT, Verdict.PROMOTE, Verdict.PROMOTE]


@given(reports.policies(), reports.reports(), CHAMPIONS)
def test_what_serves_only_adds_its_own_reasons(
    policy: Policy, given_report: Report, serving: Champion
) -> None:
    """The other rules decide as they do if the champion is unknown."""
    alone, beside = decide(policy, given_report), decide(policy, given_report, serving=serving)
    own = {ReasonCode.CHAMPION_MISSING, ReasonCode.CHAMPION_NEWER}

    assert tuple(reason for reason in beside.reasons if reason.code not in own) == alone.reasons
    assert (beside.verdict is Verdict.PROMOTE) == (beside.reasons == ())


def test_models_of_earlier_windows_come_newest_first() -> None:
    """Those of this window and later ones are left out, and of one window the first in the list is first."""
    labels = {
        "old": ("2014-12_train24_test1", ""),
        "same": ("2015-07_train24_test1", ""),
        "later": ("2015-08_train24_test1", ""),
        "new": ("2015-06_train24_test1", ""),
        "new again": ("2015-06_train12_test1", ""),
        "learned": ("2015-05_train24_test1", "2015-06-02"),
        "foreign": ("", ""),
    }
    models = [
        Champion.of(
            name=name,
            uri="",
            labels={"window": window, "trained_from": "2013-01-01", "trained_until": until},
        )
        for name, (window, until) in labels.items()
    ]

    found = newest_first(models, "2015-07_train24_test1")

    assert [each.name for each in found] == ["new", "new again", "old"]
    assert newest_first(models, "another window") == []
