"""Preflight's findings about a cloud in which everything is in order but one thing."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from google.cloud import bigquery

from taxi_airflow.checks import Subject, queries
from taxi_airflow.findings import Status, failure
from taxi_airflow.operators.validate import PreflightOperator
from taxi_airflow.preflight import look, main
from taxi_airflow.runs import run_of
from taxi_ml.settings import Settings
from taxi_ml.window import Window
from tests.airflow.servers import PROJECT, REPOSITORY, connect_to_all
from tests.airflow.tasks import context, run_task

if TYPE_CHECKING:
    from pathlib import Path

    from tests.airflow.servers import Running
    from tests.local_stack import LocalStack

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("whole_cloud")]
WINDOW_END = "2015-02-01"
PARAMS = {"window_end": WINDOW_END, "train_months": 12}


def failures() -> list[str]:
    """Return what preflight finds wrong, as lines of subject, text and remedy."""
    found = look(os.environ, window_end=WINDOW_END)
    return [f"{each.subject}: {each.text} → {each.remedy}" for each in found if each.failed]


def test_a_run_can_start_on_the_local_cloud(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is wrong in a complete cloud; the table says so and the exit code is 0."""
    code = main(["--window-end", WINDOW_END])

    printed = capsys.readouterr().out
    assert (code, "A run can start" in printed) == (0, True), printed


def test_the_price_is_that_of_what_is_read() -> None:
    """The dry run says how much is read, and a budget below its price is a problem."""
    environ = {**os.environ, "TAXI_USD_PER_TIB": "1000", "TAXI_QUERY_BUDGET_USD": "0"}

    found = [each.text for each in look(environ, window_end=WINDOW_END) if each.failed]

    assert [text for text in found if " MiB to read, 0.0" in text and "the budget is 0 USD" in text] == found
    assert len(found) == 1


def test_a_query_over_its_limit_is_found() -> None:
    """A statement that BigQuery would refuse for its bytes is named with the limit that it needs."""
    settings = replace(Settings.from_environment(os.environ), maximum_bytes_billed=1000)
    window = Window.ending(WINDOW_END, train_months=12, test_months=1)

    found = list(queries(Subject(settings=settings, window=window)))

    assert [each.subject for each in found if each.failed] == [
        "newest_trip",
        "build_dataset",
        "export_averages",
        "count_dropped",
    ]
    assert "set TAXI_MAXIMUM_BYTES_BILLED to" in found[0].remedy


@pytest.mark.parametrize(
    ("setting", "text", "expected"),
    [
        ("TAXI_BUCKET", "gs://nobody", "bucket: gs://nobody does not exist → create it"),
        ("TAXI_REGION", "europe-west4", "identity: "),
        ("TAXI_PROJECT", "another-project", "identity: the connection's project is taxi-local"),
        ("TAXI_TRIPS_TABLE", "bigquery-public-data.chicago_taxi_trips.none", "trips: NotFound"),
        (
            "TAXI_MACHINE_TYPE",
            "n1-standard-5",
            "machine_type: Vertex AI does not offer",
        ),
        (
            "TAXI_SERVING_MACHINE_TYPE",
            "t2a-standard-4",
            "serving_machine_type: Vertex AI does not offer",
        ),
        ("TAXI_DATAFLOW_WORKERS", "8", "dataflow: the connection is anonymous"),
        ("TAXI_BEAM_ARGS", "--runner=DataflowRunner", "dataflow: the connection is anonymous"),
        ("TAXI_PIPELINE_IMAGE", "taxi-vertex/other:1", "image: "),
        (
            "TAXI_PIPELINE_IMAGE",
            "taxi-vertex/pipeline:stale",
            "taxi-vertex.lock is 1, but the code here has",
        ),
        ("TAXI_BIGQUERY_LOCATION", "europe-west4", "cannot export → use a bucket"),
        ("TAXI_MAXIMUM_BYTES_BILLED", str(10 * 1024**2), ""),
        ("TAXI_MAX_TEST_ROWS", "200", "max_test_rows (TAXI_MAX_TEST_ROWS) = 200 is below 300"),
        ("TAXI_COLOUR", "red", "settings: setting colour (TAXI_COLOUR) = 'red' is unknown"),
    ],
)
def test_each_wrong_setting_is_found(
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    text: str,
    expected: str,
) -> None:
    """Whatever is set wrong is named with what to do; what is allowed is not."""
    monkeypatch.setenv(setting, text)

    found = failures()

    assert bool(found) == bool(expected)
    assert expected in "\n".join(found)


def test_everything_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One problem does not hide another."""
    monkeypatch.setenv("TAXI_BUCKET", "gs://nobody")
    monkeypatch.setenv("TAXI_MACHINE_TYPE", "n1-standard-5")

    subjects = {line.partition(":")[0] for line in failures()}

    assert {"bucket", "machine_type"} <= subjects


def test_a_skipped_check_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person who knows better leaves a check out, and the table shows it."""
    monkeypatch.setenv("TAXI_MACHINE_TYPE", "n1-standard-5")
    monkeypatch.setenv("TAXI_PREFLIGHT_SKIP", "machines")

    found = look(os.environ, window_end=WINDOW_END)

    assert [each.subject for each in found if each.status is Status.SKIPPED] == ["machines"]
    assert not any(each.failed for each in found)


def test_a_missing_column_is_named(whole_cloud: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own table is checked for the columns that the statements read."""
    table = f"{PROJECT}.own_{uuid.uuid4().hex[:8]}.trips"
    client = whole_cloud.bigquery_client()
    client.create_dataset(table.rpartition(".")[0])
    client.create_table(bigquery.Table(table, schema=[bigquery.SchemaField("fare", "FLOAT")]))
    monkeypatch.setenv("TAXI_TRIPS_TABLE", table)

    found = "\n".join(failures())

    assert "has no column dropoff_census_tract, dropoff_community_area" in found


def test_a_dataset_elsewhere_is_named(whole_cloud: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements would not find a dataset of another location."""
    name = f"abroad_{uuid.uuid4().hex[:8]}"
    dataset = bigquery.Dataset(f"{PROJECT}.{name}")
    dataset.location = "EU"
    whole_cloud.bigquery_client().create_dataset(dataset)
    monkeypatch.setenv("TAXI_DATASET", name)

    assert f"dataset: {PROJECT}.{name} is in EU, but statements run in US" in "\n".join(failures())


def test_an_image_without_a_registry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the connection names no registry, the image has to."""
    connect_to_all(monkeypatch, registry_endpoint="")

    assert "image: 'taxi-vertex/pipeline:local' names no registry" in "\n".join(failures())


def test_no_connection_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the connection every check that needs it says so."""
    monkeypatch.delenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT")

    assert "google_cloud_default" in "\n".join(failures())


def test_the_task_names_problems_and_is_not_retried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a task, preflight fails the run without a retry and says what to do."""
    monkeypatch.setenv("TAXI_BUCKET", "gs://nobody")

    with pytest.raises(AirflowFailException, match=r"gs://nobody does not exist\n.*create it"):
        run_task(PreflightOperator(task_id="preflight"), context(params=PARAMS))


def test_the_task_lets_a_run_start() -> None:
    """As a task, preflight succeeds if everything is in order, and returns the address of the run's pin."""
    ctx = context(params=PARAMS)

    assert run_task(PreflightOperator(task_id="preflight"), ctx) == run_of(ctx).uri


def test_an_outage_is_retried(running_with_images: Running) -> None:
    """A check that could not reach its service is not a problem of the installation."""
    running_with_images.stop()

    outcomes = {each.status for each in look(os.environ, window_end=WINDOW_END) if each.failed}

    assert outcomes == {Status.UNREACHED}


@pytest.mark.parametrize(("error", "status"), [(TimeoutError(), "UNREACHED"), (ValueError(), "PROBLEM")])
def test_an_error_is_a_finding(error: Exception, status: str) -> None:
    """Whatever a client raises becomes a line with a remedy."""
    found: Any = failure("bucket", error)

    assert (found.status, bool(found.remedy)) == (status, True)


def test_the_command_needs_no_running_airflow(tmp_path: Path) -> None:
    """The module runs by itself, with the connection from the environment."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'plugins'}",
        "AIRFLOW_HOME": str(tmp_path),
    }

    ended = subprocess.run(
        [sys.executable, "-m", "taxi_airflow.preflight", "--window-end", WINDOW_END],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, "A run can start" in ended.stdout) == (0, True), ended.stdout + ended.stderr
