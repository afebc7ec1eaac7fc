"""A run of the DAG over more trips than it takes: 2 million, resampled from the real ones."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.taxi_pipeline.resampled_trips import resample
from demo import trips
from tests.e2e.runs import DAG_ID, SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.runs import Runs
    from tests.local_stack import LocalStack

pytestmark = [pytest.mark.large, pytest.mark.e2e, pytest.mark.pipeline, pytest.mark.timeout(3600)]
TIMES = 134
CAPS = {"train": 60_000, "test": 5_000}


@pytest.fixture(scope="module")
def many_trips(airflow_stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The number of trips in the public table, most of them resampled; afterwards it has the real ones."""
    layout, url = airflow_stack.layout, airflow_stack.environment["BIGQUERY_EMULATOR_HOST"]
    # BigQuery reads files in a few folders only.
    uploads = layout.bigquery / "uploads"
    uploads.mkdir(exist_ok=True)
    source = trips.find_source(layout.pipeline_python)
    many = tmp_path_factory.mktemp("trips") / "trips.csv"
    resample(source, many, times=TIMES)
    yield trips.load(url, many, uploads)
    trips.load(url, source, uploads)


@pytest.fixture(scope="module")
def capped_run(runs: Runs, many_trips: int) -> str:
    """The id of a run with caps from the form, which only evaluates."""
    assert many_trips > 2_000_000
    caps = {f"max_{split}_rows": most for split, most in CAPS.items()}
    run_id, states = runs.run({"window_end": "2015-07-01", "promote": False, **SMALL, **caps})
    failed = [task for task, state in states.items() if state == "failed"]
    assert not failed, "\n".join(f"{task}: {runs.log(run_id, task)[-3000:]}" for task in failed)
    return run_id


def test_the_log_says_what_was_sampled(runs: Runs, capped_run: str) -> None:
    """More than a million trips to train on are counted, and sampled to the cap."""
    found = re.search(r"train ([\d,]+) trips, sampled to 60,000", runs.log(capped_run, "check_rows"))

    assert found
    assert int(found[1].replace(",", "")) > 1_000_000


@pytest.mark.parametrize("split", CAPS)
def test_the_report_is_about_the_sample(runs: Runs, capped_run: str, split: str) -> None:
    """The trips that the models were trained and judged on are as many as the cap, give or take chance."""
    report: dict[str, Any] = runs.json(runs.airflow.xcom(DAG_ID, capped_run, "gate")["report"])

    assert abs(report["rows"][split] - CAPS[split]) < 5 * math.sqrt(CAPS[split])


def test_the_card_says_what_was_sampled(runs: Runs, capped_run: str) -> None:
    """The model card has the trips of the window beside those of the sample."""
    card = runs.text(runs.airflow.xcom(DAG_ID, capped_run, "gate")["card"])

    assert re.search(r"In the window: train [\d,]+ trips, sampled to 60,000 \(\d\.\d %\)", card)
