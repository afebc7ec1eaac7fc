"""Settings and windows, checked before anything is submitted."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxi_ml.resources import Accelerator, Component, ComponentResources, parse
from taxi_ml.settings import Settings, SettingsError, Window

REQUIRED = {
    "TAXI_PROJECT": "taxi-local",
    "TAXI_BUCKET": "gs://taxi-local",
    "TAXI_PIPELINE_IMAGE": "taxi-vertex/pipeline:local",
}
WINDOWS = st.builds(
    Window,
    end=st.dates(date(1990, 1, 1), date(2100, 1, 1)).map(lambda day: day.replace(day=1)),
    train_months=st.integers(1, 240),
    test_months=st.integers(1, 240),
)


def test_defaults_are_accepted() -> None:
    """Three settings are enough, and every default passes its own rule."""
    chosen = Settings.from_environment(REQUIRED)

    assert chosen.with_overrides(**dataclasses.asdict(chosen)) == chosen


def test_other_variables_are_left_alone() -> None:
    """Only variables with the prefix are settings."""
    assert Settings.from_environment({**REQUIRED, "PATH": "/bin"}).project == "taxi-local"


def test_text_becomes_the_type_of_the_setting() -> None:
    """Numbers and lists are read from the environment's texts."""
    chosen = Settings.from_environment(
        {
            **REQUIRED,
            "TAXI_MAX_FARE_USD": "150.5",
            "TAXI_TRAIN_MONTHS": "6",
            "TAXI_BEAM_ARGS": "--runner=DataflowRunner '--label=a b'",
        }
    )

    assert (chosen.max_fare_usd, chosen.train_months) == (150.5, 6)
    assert chosen.beam_args == ("--runner=DataflowRunner", "--label=a b")


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("bucket", "taxi-local", "gs://<bucket>"),
        ("bucket", "gs://taxi-local/", "without a slash at the end"),
        ("bucket", "gs://taxi-local/a'b", "gs://<bucket>"),
        ("project", "X", "id of a Google Cloud project"),
        ("dataset", "a`b", "letters, digits and underscores"),
        ("trips_table", "trips", "<project>.<dataset>.<table>"),
        ("source_table", "a.b.c; DROP TABLE d", "<project>.<dataset>.<table>"),
        ("train_months", -1, "1 to 240 months"),
        ("test_months", 0, "training ends where testing begins"),
        ("eval_percent", 51, "1 to 50 percent"),
        ("max_fare_usd", float("nan"), "1 to 10000 USD"),
        ("max_fare_usd", "many", "not a number"),
        ("seed", "1.5", "not a whole number"),
        ("seed", 1.5, "of type float; give a whole number"),
        ("seed", True, "of type bool; give a whole number"),
        ("project", 7, "of type int; give a text"),
        ("beam_args", "runner=X", "begin each with --"),
        ("beam_args", 7, "give a list of texts"),
        ("machine_type", "big", "n1-standard-4"),
        ("examples_format", "avro", "choose one of csv, parquet"),
        ("resources", "Trainr=cpu:8", "one of ExampleGen, StatisticsGen"),
        ("resources", "Trainer=cpu:8 Trainer=memory:1G", "Trainer is named twice"),
        ("resources", "Trainer", "write <component>=cpu:<vCPUs>"),
        ("resources", "Trainer=gpu:1", "write <component>=cpu:<vCPUs>"),
        ("resources", "Trainer=cpu:8,cpu:9", "each part at most once"),
        ("resources", "Trainer=cpu:0", "one above 0, such as cpu:8"),
        ("resources", "Trainer=cpu:8G", "no number of vCPUs"),
        ("resources", "Trainer=memory:32", "one of the units M, G, T, Mi, Gi, Ti"),
        ("resources", "Trainer=memory:0G", "a number above 0"),
        ("resources", "Trainer=accelerator:nvidia-tesla-t4", "NVIDIA_TESLA_T4x1"),
        ("resources", "Trainer=accelerator:NVIDIA_TESLA_T4x0", "how many, 1 or more"),
        ("colour", "blue", "is unknown"),
    ],
)
def test_wrong_setting_names_setting_value_and_remedy(name: str, value: object, remedy: str) -> None:
    """A wrong value is refused with what would be right."""
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment(REQUIRED).with_overrides(**{name: value})

    (problem,) = refused.value.problems
    assert f"TAXI_{name.upper()}" in problem
    assert repr(value) in problem
    assert remedy in problem


def test_components_have_resources_of_their_own() -> None:
    """CPUs, memory with a unit and accelerators are read for each component."""
    text = "Trainer=cpu:8,memory:32G,accelerator:NVIDIA_TESLA_T4x2 Report=cpu:0.5 ExampleGen=memory:512Mi"
    chosen = Settings.from_environment({**REQUIRED, "TAXI_RESOURCES": text})

    assert parse(chosen.resources) == {
        Component.TRAINER: ComponentResources(
            cpus=8.0, memory=32 * 10**9, accelerator=Accelerator(type="NVIDIA_TESLA_T4", count=2)
        ),
        Component.REPORT: ComponentResources(cpus=0.5),
        Component.EXAMPLE_GEN: ComponentResources(memory=512 * 1024**2),
    }


def test_all_problems_are_told_at_once() -> None:
    """Unknown, missing and wrong settings are in one error."""
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({"TAXI_BUCKET": "x", "TAXI_COLOUR": "blue"})

    assert len(refused.value.problems) == 4


def test_window_months_are_those_before_its_end() -> None:
    """Training ends where testing begins, and testing ends before `end`."""
    window = Window(end=date(2015, 2, 1), train_months=13, test_months=2)

    assert (window.train_start, window.test_start) == (date(2013, 11, 1), date(2014, 12, 1))
    assert window.id == "2015-02_train13_test2"


@given(WINDOWS, WINDOWS, st.sampled_from([field.name for field in dataclasses.fields(Window)]))
def test_window_is_known_by_its_id(one: Window, other: Window, field: str) -> None:
    """An id names one window: whatever differs in one field has another id."""
    changed = dataclasses.replace(one, **{field: getattr(other, field)})

    assert (one.id == changed.id) == (one == changed)


@given(WINDOWS)
def test_training_never_overlaps_testing(window: Window) -> None:
    """Bounds are first days of months, in order."""
    assert window.train_start < window.test_start < window.end
    assert {window.train_start.day, window.test_start.day} == {1}


@pytest.mark.parametrize(
    ("end", "train", "test", "problem"),
    [
        (
            date(2015, 2, 14),
            1,
            1,
            "inside a month; give the first day after the test months, such as 2015-02-01",
        ),
        (date(2015, 2, 1), -1, 1, "train_months = -1 is below 1"),
        (date(2015, 2, 1), 1, 0, "test_months = 0 is below 1"),
        (date(2015, 2, 1), 1400, 1, "begins before 1900"),
    ],
)
def test_impossible_window_is_refused(end: date, train: int, test: int, problem: str) -> None:
    """A window is whole months, at least one on each side."""
    with pytest.raises(SettingsError, match=problem):
        Window(end=end, train_months=train, test_months=test)


@pytest.mark.parametrize(
    "moment",
    [
        date(2015, 7, 1),
        datetime(2015, 7, 1, tzinfo=UTC),
        datetime(2015, 7, 1, 2, tzinfo=timezone(timedelta(hours=2))),
        "2015-07-01",
        "2015-07-01T00:00:00+00:00",
    ],
)
def test_window_ends_at_a_moment_of_any_form(moment: str | date) -> None:
    """A data interval's end and a form's text give the same window."""
    window = Window.ending(moment, train_months=24, test_months=1)

    assert window.id == "2015-07_train24_test1"


def test_window_that_ends_at_no_date_is_refused() -> None:
    """A text that is no date is an error."""
    with pytest.raises(SettingsError, match="'July' is not a date"):
        Window.ending("July", train_months=24, test_months=1)
