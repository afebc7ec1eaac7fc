"""Names are functions of the named things, within the rules of their readers."""

from __future__ import annotations

import re
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from taxi_ml import naming
from taxi_ml.settings import Settings
from taxi_ml.splits import Split
from taxi_ml.window import Window

WINDOW = Window(end=date(2015, 7, 1), train_months=24, test_months=1)
SETTINGS = Settings(project="taxi-local", bucket="gs://taxi-local/demo", pipeline_image="taxi:1")
IDS = st.text(max_size=300)


@given(IDS, IDS)
def test_display_names_fit_and_differ(one: str, other: str) -> None:
    """Any run's name is within Vertex AI's 128 characters, and no two runs share one."""
    names = [naming.display_name("compile", run_id) for run_id in (one, other)]

    assert all(0 < len(name) <= 128 for name in names)
    assert (names[0] == names[1]) == (one == other)


def test_display_name_that_fits_is_left_alone() -> None:
    """A run is found by its unchanged id, as far as the console can show it."""
    assert naming.display_name("compile", "manual__1") == "compile-manual__1"
    assert naming.display_name("compile", "é" * 120) == "compile-" + "é" * 120


@given(IDS, IDS)
def test_labels_are_accepted_by_google_cloud(dag_id: str, run_id: str) -> None:
    """Keys and values are within the rules for labels."""
    labels = naming.job_labels(dag_id, run_id, WINDOW)

    assert all(re.fullmatch(r"[a-z0-9_-]{0,63}", value) for value in labels.values())
    assert labels["window"] == WINDOW.id


def test_paths_carry_the_window() -> None:
    """Tables and files of a window have its id in their names."""
    assert naming.dataset_table(SETTINGS, WINDOW) == "taxi-local.taxi.trips_2015_07_train24_test1"
    assert (
        naming.split_uri(SETTINGS, WINDOW, Split.EVAL)
        == "gs://taxi-local/demo/data/2015-07_train24_test1/eval/trips_*.csv"
    )
    assert naming.serving_uri(SETTINGS, WINDOW) == "gs://taxi-local/demo/serving/2015-07_train24_test1"


def test_paths_carry_their_content() -> None:
    """Modules and the specs compiled from them are stored under their digests."""
    assert naming.compile_uri(SETTINGS, "a1", "b2") == "gs://taxi-local/demo/modules/a1/compiled/b2"
    assert naming.decision_uri(SETTINGS, "job-1") == "gs://taxi-local/demo/runs/job-1/decision.json"
    assert naming.report_uri(SETTINGS, "job-1") == "gs://taxi-local/demo/runs/job-1/report.json"
    assert naming.pipeline_root(SETTINGS) == "gs://taxi-local/demo/pipeline_root"


@given(st.dates(), st.integers(1, 3650))
def test_what_one_period_caches_is_younger_than_the_period(day: date, days: int) -> None:
    """Two days of one period are fewer days apart than it has, and it never begins after them."""
    first = date.fromisoformat(naming.cache_period(day, days))
    last = first + timedelta(days=min(days - 1, (date.max - first).days))

    assert first <= day <= last
    assert naming.cache_period(last, days) == first.isoformat() or first == date.min
