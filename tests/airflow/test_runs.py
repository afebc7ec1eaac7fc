from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from taxi_airflow.runs import next_step, run_for, run_in_template, run_of

from taxi_ml.settings import SettingsError
from tests.airflow.conftest import SETTINGS, context


def test_a_scheduled_run_ends_with_its_interval() -> None:
    """The window of a scheduled run ends where its data interval does."""
    run = run_for(context()["dag_run"], {}, SETTINGS)

    assert date(2015, 7, 1) == run.window.end


def test_a_manual_run_takes_the_window_from_the_form() -> None:
    """The form's window end wins over the interval."""
    run = run_for(context()["dag_run"], {"window_end": "2015-03-01"}, SETTINGS)

    assert date(2015, 3, 1) == run.window.end


def test_a_manual_run_without_an_interval_takes_whole_months() -> None:
    """Without interval and form the window ends with the month before the run."""
    run = run_for(context(interval_end=None)["dag_run"], {}, SETTINGS)

    assert date(2015, 8, 1) == run.window.end


def test_the_form_overrides_settings() -> None:
    """Lengths, steps and trials of the form win over the environment; empty fields do not."""
    params = {"train_months": 12, "test_months": None, "train_steps": 7, "tuner_trials": 0}

    settings = run_for(context()["dag_run"], params, {**SETTINGS, "TAXI_TEST_MONTHS": "2"}).settings

    assert (
        settings.train_months,
        settings.test_months,
        settings.train_steps,
        settings.tuner_trials,
    ) == (12, 2, 7, 0)


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
        run_for(context()["dag_run"], params, {**SETTINGS, **environ})


def test_every_task_sees_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings, window and labels follow from context and environment alone."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)

    assert run_of(context()) == run_of(context())


@pytest.mark.parametrize(
    ("verdict", "wanted", "step"),
    [
        ("promote", "True", "promote.register"),
        ("promote", "False", "evaluate_only"),
        ("reject", "True", "reject"),
        ("", "True", "reject"),
    ],
)
def test_only_a_wanted_promotion_promotes(verdict: str, wanted: str, step: str) -> None:
    """Anything but the gate's word and the form's yes leaves the endpoint alone."""
    following = next_step(verdict, wanted)

    assert step == following


def test_wrong_settings_in_a_template_are_final(monkeypatch: pytest.MonkeyPatch) -> None:
    """A template that finds a setting wrong fails its task for good: a retry would find the same."""
    for name, text in SETTINGS.items():
        monkeypatch.setenv(name, text)

    with pytest.raises(AirflowFailException, match="2015-02-10 is inside a month"):
        run_in_template(context()["dag_run"], {"window_end": "2015-02-10"})
