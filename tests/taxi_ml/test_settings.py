"""Settings and windows, checked before anything is submitted."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taxi_ml.pipeline.request import CompileRequest
from taxi_ml.resources import Accelerator, Component, ComponentResources, Resources
from taxi_ml.rules import SettingsError
from taxi_ml.settings import Settings
from taxi_ml.sizing import plan
from taxi_ml.sql import SplitCounts
from taxi_ml.window import Window

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
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

    assert Settings.from_values(json.loads(json.dumps(chosen.values()))) == chosen


def test_every_setting_is_documented_with_its_default() -> None:
    """docs/settings.md has each setting once, with its default."""
    rows = re.findall(r"^\| `TAXI_(\w+)` \| (\S.*?) \|", PAGE.read_text(), re.MULTILINE)
    defaults = Settings.from_environment(REQUIRED).values()
    expected = {
        name: "required" if f"TAXI_{name.upper()}" in REQUIRED else f"`{value}`" if value else "empty"
        for name, value in defaults.items()
    } | {name: "`0`" for name, value in defaults.items() if value == 0}

    assert {name.lower(): default for name, default in rows} == expected
    assert len(rows) == len(defaults)


def test_other_variables_are_left_alone() -> None:
    """Only variables with the prefix are settings."""
    assert Settings.from_environment({**REQUIRED, "PATH": "/bin"}).project == "taxi-local"


def test_text_becomes_the_type_of_the_setting() -> None:
    """Numbers and lists are parsed from the environment's strings."""
    chosen = Settings.from_environment(
        {
            **REQUIRED,
            "TAXI_MAX_FARE_USD": "150.5",
            "TAXI_TRAIN_MONTHS": "6",
            "TAXI_BEAM_ARGS": "--runner=DataflowRunner '--label=a b'",
        }
    )

    assert (chosen.max_fare_usd, chosen.train_months) == (150.5, 6)
    assert chosen.beam_args.texts == ("--runner=DataflowRunner", "--label=a b")


@pytest.mark.parametrize(("given", "meant"), [("true", True), (" False ", False), (True, True)])
def test_a_switch_is_true_or_false(given: object, meant: bool) -> None:  # noqa: FBT001  # a value
    """It reads words in any case, and is written as one."""
    chosen = Settings.from_environment(REQUIRED).with_overrides(refit=given)

    assert (chosen.refit, chosen.values()["refit"]) == (meant, str(meant).lower())
    assert Settings.from_values(chosen.values()) == chosen


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
        ("test_months", -1, "training ends where testing begins, so they never overlap; or auto"),
        ("test_months", "few", "it is not a whole number"),
        ("train_months", "auto", "it is not a whole number"),
        ("eval_percent", 51, "1 to 50 percent"),
        ("max_fare_usd", float("nan"), "1 to 10000 USD"),
        ("max_fare_usd", "many", "not a number"),
        ("seed", "1.5", "not a whole number"),
        ("seed", 1.5, "of type float; give a whole number"),
        ("seed", True, "of type bool; give a whole number"),
        ("project", 7, "of type int; give a string"),
        ("beam_args", "runner=X", "begin each with --"),
        ("beam_args", 7, "give a list of strings"),
        ("machine_type", "big", "n1-standard-4"),
        ("examples_format", "avro", "choose one of csv, parquet"),
        ("pipeline_schema", "3", "choose one of 2.1, 2.0"),
        ("serve", "mean_of_2", "choose one of newest, mean_of_3"),
        ("refit", "yes", "of type str; give true or false"),
        ("refit", 1, "of type int; give true or false"),
        ("resources", "Trainr=cpu:8", "one of ExampleGen, StatisticsGen"),
        ("resources", "Trainer=cpu:8 Trainer=memory:1G", "Trainer is named twice"),
        ("resources", "Trainer", "write <component>=cpu:<vCPUs>"),
        ("resources", "Trainer=gpu:1", "write <component>=cpu:<vCPUs>"),
        ("resources", "Trainer=cpu:8,cpu:9", "each part at most once"),
        ("resources", "Trainer=cpu:0", "one above 0, such as cpu:8"),
        ("resources", "Trainer=cpu:8G", "not a number of vCPUs"),
        ("resources", "Trainer=memory:32", "one of the units M, G, T, Mi, Gi, Ti"),
        ("resources", "Trainer=memory:0G", "a number above 0"),
        ("resources", "Trainer=accelerator:nvidia-tesla-t4", "NVIDIA_TESLA_T4x1"),
        ("resources", "Trainer=accelerator:NVIDIA_TESLA_T4x0", "how many, 1 or more"),
        ("resources", "Trainer=memory:" + "9" * 20 + "G", "one of the units M, G, T"),
        ("resources", "Trainer=cpu:٣", "not a number of vCPUs"),
        ("schedule", "*/0 * * * *", "give five cron fields"),
        ("schedule", "60 * * * *", "give five cron fields"),
        ("schedule", "0 0 32 * *", "give five cron fields"),
        ("schedule", "0 0 30 2 *", "give five cron fields"),
        ("schedule", "- - - - -", "give five cron fields"),
        ("schedule", "1,,2 * * * *", "give five cron fields"),
        ("schedule", "1-999999999 * * * *", "give five cron fields"),
        ("dataset", "tàxi", "letters, digits and underscores"),
        ("colour", "blue", "is unknown"),
    ],
)
def test_wrong_setting_names_setting_value_and_remedy(name: str, value: object, remedy: str) -> None:
    """A wrong value is refused with the values that are allowed."""
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment(REQUIRED).with_overrides(**{name: value})

    (problem,) = refused.value.problems
    assert f"TAXI_{name.upper()}" in problem
    assert repr(value) in problem
    assert remedy in problem


@pytest.mark.parametrize("value", ["9" * 5000, pytest.param(10**5000, id="long"), "1e400"])
@pytest.mark.parametrize("name", ["seed", "max_fare_usd", "project"])
def test_value_of_any_length_is_refused_in_a_line(name: str, value: object) -> None:
    """A message stays readable, whatever the value."""
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment(REQUIRED).with_overrides(**{name: value})

    assert f"TAXI_{name.upper()}" in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    "text", ["0 0 1 * *", "0 6 2 1,4,7,10 *", "*/15 0-5 * * 1-5/2", "0 0 29 2 *", "none"]
)
def test_schedule_is_accepted(text: str) -> None:
    """Schedules are cron fields with lists, ranges and steps, or none for runs by hand."""
    assert Settings.from_environment({**REQUIRED, "TAXI_SCHEDULE": text}).schedule == text


NAMES = st.sampled_from([field.name for field in dataclasses.fields(Settings)])
NUMBERS = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["9" * 5000, "-0", "1e400", "٣", "0x10", "1_000", "NaN", "-inf", ""]),
)
TEXTS = st.one_of(st.text(), st.text(st.characters(categories=["Cs", "Cc", "Nd"])), NUMBERS)
SCHEDULES = st.lists(st.sampled_from(["0", "59", "99", "*", "-", "/", ",", " "])).map("".join)
BEAM_ARGS = st.lists(
    st.sampled_from(["--", "runner", "=", "DataflowRunner", " ", "'", "labels", "project"])
).map("".join)
RESOURCES = st.builds(
    "{}={}:{}{}".format,
    st.sampled_from([*Component]),
    st.sampled_from(["cpu", "memory", "accelerator"]),
    st.sampled_from(["0", "0.5", "8", "1e400", "9" * 400, "NVIDIA_TESLA_T4"]),
    st.sampled_from(["", "G", "Ti", "x1", "x" + "9" * 5000]),
)
VARIABLES = st.one_of(
    st.tuples(NAMES, TEXTS),
    st.tuples(st.just("schedule"), SCHEDULES),
    st.tuples(st.just("beam_args"), BEAM_ARGS),
    st.tuples(st.just("resources"), RESOURCES),
)


@settings(max_examples=1000, deadline=None)
@given(st.lists(VARIABLES, max_size=3).map(dict))
def test_any_environment_gives_settings_or_their_error(given_texts: dict[str, str]) -> None:
    """Any values of the variables are either valid everywhere or refused with the settings' own message."""
    environ = REQUIRED | {f"TAXI_{name.upper()}": text for name, text in given_texts.items()}
    try:
        chosen = Settings.from_environment(environ)
    except SettingsError:
        return

    assert Settings.from_values(json.loads(json.dumps(chosen.values()))) == chosen


def test_components_have_resources_of_their_own() -> None:
    """CPUs, memory with a unit and accelerators are read for each component."""
    text = "Trainer=cpu:8,memory:32G,accelerator:NVIDIA_TESLA_T4x2 Report=cpu:0.5 ExampleGen=memory:512Mi"
    chosen = Settings.from_environment({**REQUIRED, "TAXI_RESOURCES": text})

    assert chosen.resources.by_component == {
        Component.TRAINER: ComponentResources(
            cpus=8.0, memory=32 * 10**9, accelerator=Accelerator(type="NVIDIA_TESLA_T4", count=2)
        ),
        Component.REPORT: ComponentResources(cpus=0.5),
        Component.EXAMPLE_GEN: ComponentResources(memory=512 * 1024**2),
    }


def test_lists_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resources and Beam arguments are typed values of the settings: their strings are parsed once."""
    given = {"TAXI_RESOURCES": "Trainer=cpu:8", "TAXI_BEAM_ARGS": "--direct_num_workers=2"}
    chosen = Settings.from_environment(REQUIRED | given)
    reads: list[str] = []
    for module, read in (("taxi_ml.resources", "_resources"), ("taxi_ml.settings.reading", "_converted")):
        monkeypatch.setattr(f"{module}.{read}", lambda *texts: reads.append(texts))
    rows = SplitCounts(train=10_000, eval=500, test=400)
    plan(chosen, rows)
    CompileRequest.of(chosen, modules_digest="0", compares=False, enable_cache=True)

    assert reads == []
    assert isinstance(chosen.resources, Resources)


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
    """An id names one window: windows that differ in one field have different ids."""
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
    """A data interval's end and a form's string give the same window."""
    window = Window.ending(moment, train_months=24, test_months=1)

    assert window.id == "2015-07_train24_test1"


@pytest.mark.parametrize(
    "moment",
    [
        "July",
        "",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-14))),
        "2015-02-30",
        "9" * 5000,
        7,
        ["2015-07-01"],
    ],
)
def test_window_that_ends_at_no_date_is_refused(moment: Any) -> None:  # noqa: ANN401  # a form may hold anything
    """A value that is not a date, or is out of range in UTC, is an error that names it."""
    with pytest.raises(SettingsError, match="is not a date; write it as in 2015-07-01"):
        Window.ending(moment, train_months=24, test_months=1)


@settings(max_examples=500)
@given(st.one_of(st.text(), st.dates().map(str), st.datetimes(timezones=st.timezones()).map(str)))
def test_any_end_gives_a_window_or_the_settings_error(text: str) -> None:
    """Any form gives a window of whole months, or an error that says what is wrong."""
    try:
        window = Window.ending(text, train_months=24, test_months=1)
    except SettingsError:
        return

    assert window.train_start < window.test_start < window.end
