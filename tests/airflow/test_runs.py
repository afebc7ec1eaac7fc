from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pendulum
import pytest
from airflow.timetables.base import TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from hypothesis import given, settings
from hypothesis import strategies as st

from taxi_airflow.runs import Run, next_step, timetable
from taxi_ml.rules import SettingsError
from tests.airflow.servers import SETTINGS
from tests.airflow.tasks import context


def test_a_scheduled_run_ends_with_its_interval() -> None:
    """The window of a scheduled run ends where its data interval does."""
    run = Run.of(context()["dag_run"], {}, SETTINGS)

    assert date(2015, 7, 1) == run.window.end


def test_a_manual_run_takes_the_window_from_the_form() -> None:
    """The form's window end wins over the interval."""
    run = Run.of(context()["dag_run"], {"window_end": "2015-03-01"}, SETTINGS)

    assert date(2015, 3, 1) == run.window.end


def test_a_manual_run_without_an_interval_takes_whole_months() -> None:
    """Without interval and form the window ends with the month before the run."""
    run = Run.of(context(interval_end=None)["dag_run"], {}, SETTINGS)

    assert date(2015, 8, 1) == run.window.end


def test_the_form_overrides_settings() -> None:
    """Lengths, steps and trials of the form win over the environment; empty fields do not."""
    params = {
        "train_months": 12,
        "test_months": None,
        "max_train_rows": 0,
        "train_steps": 7,
        "tuner_trials": 0,
    }

    settings = Run.of(context()["dag_run"], params, {**SETTINGS, "TAXI_TEST_MONTHS": "2"}).settings

    assert (
        settings.train_months,
        settings.test_months,
        settings.max_train_rows,
        settings.train_steps,
        settings.tuner_trials,
    ) == (12, 2, 0, 7, 0)


@pytest.mark.parametrize(
    ("environ", "params", "named"),
    [
        ({"TAXI_BUCKET": "taxi"}, {}, "bucket"),
        ({"TAXI_COLOUR": "red"}, {}, "colour"),
        ({}, {"window_end": "2015-07-13"}, "2015-07-13"),
        ({}, {"train_months": -3}, "train_months"),
        ({}, {"window_end": "someday"}, "someday"),
    ],
)
def test_what_is_wrong_is_named(environ: dict[str, str], params: dict[str, Any], named: str) -> None:
    """A wrong setting or parameter is an error that names it."""
    with pytest.raises(SettingsError, match=named):
        Run.of(context()["dag_run"], params, {**SETTINGS, **environ})


def test_a_run_id_of_any_length_has_names_that_vertex_takes() -> None:
    """Airflow allows 250 characters; what Vertex AI shows of them is cut, not refused later."""
    run = Run.of(context("manual__2015-06:first+" + "X" * 228)["dag_run"], {}, SETTINGS)

    assert len(run.compile_name) == 128
    assert all(len(label) <= 63 for label in run.labels.values())


def test_an_interval_that_utc_does_not_have_is_refused() -> None:
    """An end of the data interval beyond the calendar asks for the form's window end."""
    end = datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-14)))

    with pytest.raises(SettingsError, match="give window_end"):
        Run.of(context(interval_end=end)["dag_run"], {}, SETTINGS)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["2015-07-01", 10**400]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
PARAMETERS = (
    "window_end",
    "train_months",
    "test_months",
    "max_train_rows",
    "max_test_rows",
    "train_steps",
    "tuner_trials",
)


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(st.sampled_from(PARAMETERS), JSON), st.text(max_size=250))
def test_any_form_gives_a_run_or_the_settings_error(params: dict[str, Any], run_id: str) -> None:
    """Whatever the run's configuration holds, the first task can name what is wrong with it."""
    try:
        run = Run.of(context(run_id)["dag_run"], params, SETTINGS)
    except SettingsError:
        return

    assert run.window.end.day == 1


FIELDS = st.lists(
    st.sampled_from(["*", "0", "7", "12", "31", "59", "1-5", "5-1", "0-59/7", "*/2", "*/0", "*/99"]),
    min_size=1,
    max_size=2,
).map(",".join)


@settings(max_examples=200, deadline=None)
@given(st.lists(FIELDS, min_size=5, max_size=5).map(" ".join))
def test_a_schedule_that_is_accepted_can_be_run(cron: str) -> None:
    """A schedule that the settings accept is a timetable whose next run the scheduler finds."""
    try:
        accepted = timetable({"TAXI_SCHEDULE": cron})
    except SettingsError:
        return
    assert accepted is not None
    scheduler = CronDataIntervalTimetable(cron, timezone="UTC")
    scheduler.validate()
    following = scheduler.next_dagrun_info(
        last_automated_data_interval=None,
        restriction=TimeRestriction(earliest=pendulum.datetime(2015, 1, 1), latest=None, catchup=True),
    )

    assert following is not None


@pytest.mark.parametrize(
    ("verdict", "wanted", "step"),
    [
        ("promote", "True", "promote.register"),
        ("promote", "False", "evaluate_only"),
        ("reject", "True", "reject"),
        ("unchanged", "True", "unchanged"),
        ("unchanged", "False", "unchanged"),
        ("", "True", "reject"),
    ],
)
def test_only_a_wanted_promotion_promotes(verdict: str, wanted: str, step: str) -> None:
    """Anything but the gate's approval and the form's yes leaves the endpoint alone."""
    following = next_step(verdict, wanted)

    assert step == following


@given(st.dictionaries(st.sampled_from(PARAMETERS), JSON), st.text(max_size=250))
def test_a_run_is_read_as_it_was_written(params: dict[str, Any], run_id: str) -> None:
    """Whatever the form holds, later tasks read the run that the first one wrote."""
    try:
        run = Run.of(context(run_id)["dag_run"], params, SETTINGS)
    except SettingsError:
        return

    assert Run.from_json(run.to_json()).to_json() == run.to_json()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"7", b"[]", b"{}", b'{"schema_version": 2}', b"[" * 100_000),
        b'{"schema_version": 1, "settings": []}',
    ],
)
def test_what_is_not_a_run_is_refused(content: bytes) -> None:
    """A document that this version has not written is a ValueError, whatever it is."""
    with pytest.raises(ValueError, match=r"\w"):
        Run.from_json(content)
