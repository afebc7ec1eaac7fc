from __future__ import annotations

import csv
import json
import sys
import urllib.request
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from taxi_airflow.baseline import Baseline
from taxi_airflow.objects import ObjectStore
from taxi_airflow.operators.gate import GateOperator
from taxi_airflow.operators.modules import UploadModulesOperator, WriteRequestOperator
from taxi_airflow.operators.rows import CheckRowsOperator
from taxi_airflow.operators.statement import ExportSplitOperator, StatementOperator
from taxi_airflow.operators.validate import ValidateOperator
from taxi_airflow.runs import run_of
from taxi_airflow.smoke import read_instances

import taxi_ml
from taxi_ml import naming, sql
from taxi_ml.gate.champion import Champion as Serving
from taxi_ml.modules.features import MISSING, NULLABLE_FLOATS
from taxi_ml.naming import Split
from taxi_ml.pipeline.request import Champion, CompileRequest
from taxi_ml.sql.ranges import ranges
from tests.airflow.conftest import connect_to, context, run_task
from tests.taxi_ml.reports import a_report

if TYPE_CHECKING:
    from taxi_ml.settings import Window
    from tests.conftest import LocalStack

pytestmark = pytest.mark.stack
MODULES = Path(taxi_ml.__file__).parent / "modules"
CHAMPION = "projects/p/locations/l/models/m@3"
PARAMS = {"window_end": "2015-02-01", "train_months": 12}


@pytest.fixture(autouse=True)
def cloud(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> LocalStack:
    """Lead connection and settings to the local cloud."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    connect_to(1, monkeypatch)
    return stack


@pytest.fixture
def store() -> ObjectStore:
    """Return the operators' own door to Cloud Storage."""
    return ObjectStore(gcp_conn_id="google_cloud_default")


def test_the_first_writer_wins(store: ObjectStore) -> None:
    """write_once() never overwrites, and says so."""
    uri = "gs://taxi-local/once/a"

    written = [store.write_once(uri, b"first"), store.write_once(uri, b"second")]

    assert (written, store.read(uri)) == ([True, False], b"first")


def test_only_what_matches_is_listed(store: ObjectStore) -> None:
    """A pattern names the objects of one folder, and no others of the bucket."""
    for name in ("match/a.csv", "match/a.txt", "matchless/a.csv", "other/a.csv"):
        store.write(f"gs://taxi-local/{name}", b"x")

    matching = store.matching("gs://taxi-local/match/*.csv")

    assert matching == ["gs://taxi-local/match/a.csv"]


def test_a_missing_object_is_named(store: ObjectStore) -> None:
    """Reading what is not there names the address."""
    with pytest.raises(FileNotFoundError, match="gs://taxi-local/nothing/here"):
        store.read("gs://taxi-local/nothing/here")


def test_uploaded_modules_are_where_their_content_says(store: ObjectStore) -> None:
    """Uploading twice gives one address, with the modules' bytes."""
    task = UploadModulesOperator(task_id="upload", folder=str(MODULES))

    first, again = (run_task(task, context(params=PARAMS)) for _ in range(2))

    assert first == again
    uploaded = store.read(f"gs://taxi-local/modules/{first}/trainer.py")
    assert (MODULES / "trainer.py").read_bytes() == uploaded


def test_a_module_with_a_syntax_error_fails_with_its_line(tmp_path: Path) -> None:
    """What would break the pipeline later breaks the upload, with file and line."""
    (tmp_path / "preprocessing.py").write_text("def preprocessing_fn(inputs):\n    return inputs\n")
    (tmp_path / "trainer.py").write_text("def run_fn(args):\n    return (\n")

    with pytest.raises(AirflowFailException, match=r"trainer\.py:2"):
        run_task(UploadModulesOperator(task_id="upload", folder=str(tmp_path)), context(params=PARAMS))


@pytest.mark.parametrize(
    ("name", "uri", "champion"),
    [
        ("", "gs://b/m/", None),
        (CHAMPION, "", None),
        (CHAMPION, "gs://b/m/", Champion(name=CHAMPION, uri="gs://b/m")),
    ],
)
def test_the_request_holds_the_champion(
    store: ObjectStore, name: str, uri: str, champion: Champion | None
) -> None:
    """The compiler is told what to compare with, or that there is nothing, and whether to use the cache."""
    task = WriteRequestOperator(
        task_id="write",
        modules_digest="abc",
        champion_name=name,
        champion_uri=uri,
        enable_cache="False",
    )

    folder = run_task(task, context(params=PARAMS))

    request = CompileRequest.parse(store.read(f"{folder}/request.json").decode())
    assert (champion, False) == (request.champion, request.enable_cache)


def test_the_door_names_everything_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """All wrong settings are in one error, and nothing is retried."""
    monkeypatch.setenv("TAXI_BUCKET", "taxi-local")
    monkeypatch.setenv("TAXI_COLOUR", "red")

    with pytest.raises(AirflowFailException) as raised:
        run_task(ValidateOperator(task_id="validate"), context(params=PARAMS))

    assert "gs://<bucket>" in str(raised.value)
    assert "colour" in str(raised.value)


def export() -> None:
    """Build the window's table and export its splits, as the DAG does."""
    ctx = context(params=PARAMS)
    create = StatementOperator(task_id="create", statement=lambda settings, _: sql.create_schema(settings))
    run_task(create, ctx)
    run_task(StatementOperator(task_id="build", statement=sql.build_dataset), ctx)
    run_task(CheckRowsOperator(task_id="check"), ctx)
    for split in Split:
        run_task(ExportSplitOperator(task_id=split.value, split=split), ctx)


def test_splits_are_exported(store: ObjectStore) -> None:
    """The provider's operator runs our statements: each split has files with a header."""
    export()

    for split in Split:
        files = store.matching(f"gs://taxi-local/data/2015-02_train12_test1/{split}/trips_*.csv")
        assert store.read(files[0]).startswith(b"trip_id,")


def test_exported_trips_are_within_the_ranges_of_their_model(store: ObjectStore) -> None:
    """Every trip that a model learns from is one that the model may be asked about."""
    export()
    run = run_of(context(params=PARAMS))
    bounds = ranges(run.settings, run.window)
    rows = [
        row
        for split in Split
        for uri in store.matching(f"gs://taxi-local/data/2015-02_train12_test1/{split}/trips_*.csv")
        for row in csv.DictReader(store.read(uri).decode().splitlines())
    ]
    outside = [
        (name, row[name])
        for row in rows
        for name, (least, largest) in bounds.items()
        if not (
            least <= float(row[name]) <= largest or (name in NULLABLE_FLOATS and float(row[name]) == MISSING)
        )
    ]

    assert len(rows) > 1000
    assert outside == []


def test_an_export_replaces_what_was_there(store: ObjectStore) -> None:
    """Files of an earlier export with more shards do not stay."""
    stale = "gs://taxi-local/data/2015-02_train12_test1/test/trips_999999999999.csv"
    store.write(stale, b"trip_id\nold\n")

    export()

    assert stale not in store.matching("gs://taxi-local/data/2015-02_train12_test1/test/trips_*.csv")


def test_jobs_carry_the_labels_of_the_run(cloud: LocalStack) -> None:
    """Every BigQuery job can be found by the run's label."""
    run_task(StatementOperator(task_id="build", statement=sql.build_dataset), context(params=PARAMS))

    window = naming.job_labels("taxi_training", "manual__1", _window())["run"]
    jobs = cloud.bigquery_client().list_jobs(max_results=20)
    assert window in {job.labels.get("run") for job in jobs}


def _window() -> Window:
    return run_of(context(params=PARAMS)).window


def test_a_window_without_enough_trips_stops() -> None:
    """Too few rows fail for good, with the counts of each split."""
    ctx = context(params={"window_end": "2016-09-01", "train_months": 2})
    create = StatementOperator(task_id="create", statement=lambda settings, _: sql.create_schema(settings))
    run_task(create, ctx)
    run_task(StatementOperator(task_id="build", statement=sql.build_dataset), ctx)

    with pytest.raises(AirflowFailException, match=r"too few trips: train has \d+ of 1000"):
        run_task(CheckRowsOperator(task_id="check"), ctx)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (
            "SELECT trips.* FROM {trips} AS trips CROSS JOIN UNNEST([1, 2, 3])",
            r"\d+ of \d+ trips have the id of another trip, more than 1 %",
        ),
        (
            "SELECT * FROM {trips} WHERE DATE_TRUNC(DATE(trip_start_timestamp), MONTH) != '2014-11-01'",
            r"no trip starts on 2014-11-01 to 2014-11-30 \(30 days\), more than 7 days",
        ),
        (
            "SELECT * FROM {trips} WHERE trip_start_timestamp < TIMESTAMP '2015-01-16'",
            r"none starts on 2015-01-16 to 2015-01-31 \(16 days\), more than 2 days",
        ),
    ],
)
def test_damaged_trips_stop_a_run(
    cloud: LocalStack, monkeypatch: pytest.MonkeyPatch, table: str, problem: str
) -> None:
    """Copies, lost days and a test month that stops early fail for good and are named."""
    client, name = cloud.bigquery_client(), f"taxi-local.taxi.damaged_{uuid.uuid4().hex}"
    ctx = context(params=PARAMS)
    create = StatementOperator(task_id="create", statement=lambda settings, _: sql.create_schema(settings))
    run_task(create, ctx)
    trips = "`bigquery-public-data.chicago_taxi_trips.taxi_trips`"
    client.query(f"CREATE TABLE `{name}` AS {table.format(trips=trips)}").result()
    monkeypatch.setenv("TAXI_TRIPS_TABLE", name)
    run_task(StatementOperator(task_id="build", statement=sql.build_dataset), ctx)

    with pytest.raises(AirflowFailException, match=problem):
        run_task(CheckRowsOperator(task_id="check"), ctx)


def test_instances_of_the_smoke_test_are_real_trips(store: ObjectStore) -> None:
    """The trips to ask about hold every input, and neither the label nor the identifier."""
    export()

    instances = read_instances(store, "gs://taxi-local/data/2015-02_train12_test1/test/trips_*.csv")

    assert len(instances) == 3
    assert {"fare", "trip_id"}.isdisjoint(instances[0])


WINDOW = "2015-02_train12_test1"
REPORT = json.loads(replace(a_report(), window=WINDOW).to_json())


def gate(store: ObjectStore, job: str, report: dict[str, Any], running: Any = None) -> Any:  # noqa: ANN401  # XCom's
    """Let the gate judge a report of a job."""
    return judge(store, job, json.dumps(report).encode(), running)


def judge(store: ObjectStore, job: str, content: bytes, running: Any = None) -> Any:  # noqa: ANN401  # XCom's
    """Let the gate judge what a job has written as its report."""
    uri = f"gs://taxi-local/reports/{job}/report.json"
    store.write(uri, content)
    running = running or context(params=PARAMS)
    store.write_once(run_of(running).baseline_uri, Baseline.of(None, Serving()).to_json())
    name = f"projects/taxi-local/locations/us-central1/pipelineJobs/{job}"
    task = GateOperator(task_id="gate", job=name, report_uri=uri)
    return run_task(task, running)


def test_the_gate_keeps_its_decision(store: ObjectStore) -> None:
    """The decision is written once: another report of the same job does not change it."""
    first = gate(store, "job-kept", REPORT)

    again = gate(store, "job-kept", {**REPORT, "blessed": False})

    assert ("promote", first) == (first["verdict"], again)


def test_a_rejection_is_no_failure(store: ObjectStore) -> None:
    """A model that is not good enough gives a decision with reasons, not an error."""
    returned = gate(store, "job-rejected", {**REPORT, "blessed": False})

    decision = json.loads(store.read(returned["decision"]))
    assert (returned["verdict"], decision["reasons"][0]["code"]) == ("reject", "not_blessed")


def test_the_model_card_is_kept_and_linked(store: ObjectStore) -> None:
    """The card is written once beside the decision, and the task links to a page that a browser shows."""
    running = context(params=PARAMS)
    returned = gate(store, "job-card", REPORT, running)

    with urllib.request.urlopen(running["ti"].xcom["model_card_link"], timeout=10) as response:
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert response.read() == store.read(returned["card"])


@pytest.mark.parametrize("usd", [1e6, 1e9, 1e12, 1e300, sys.float_info.max, None])
def test_a_diverged_model_is_rejected_with_a_card(store: ObjectStore, usd: float | None) -> None:
    """However far a model's fares have run away, there is a decision against it and a page that shows it."""
    report = json.loads(json.dumps(REPORT))
    report["champion"] = report["difference"] = None
    report["challenger"]["metrics"].update(rmse=usd, mae=usd, mean_prediction=usd)
    for band in report["fit"]["bands"]:
        band["challenger"] = usd

    returned = gate(store, f"job-diverged-{usd}".replace("+", "-"), report)

    assert (returned["verdict"], returned["card_problem"]) == ("reject", "")
    assert len(store.read(returned["card"])) < 30_000


def test_a_card_that_cannot_be_rendered_leaves_the_decision(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task succeeds with the decision and says why there is no card; once cleared, it writes the card."""
    with monkeypatch.context() as broken:
        broken.setattr("taxi_ml.card.page._TEMPLATE", "missing.html.jinja")
        first_run = context(params=PARAMS)
        first = gate(store, "job-no-card", REPORT, first_run)

    again = gate(store, "job-no-card", {**REPORT, "blessed": False})

    assert (first["verdict"], first["card"], first_run["ti"].xcom["model_card_link"]) == ("promote", "", "")
    assert "TemplateNotFound" in first["card_problem"]
    assert (again["verdict"], again["card_problem"]) == ("promote", "")
    assert b'class="verdict promote"' in store.read(again["card"])


def test_an_override_promotes_and_is_kept_in_the_decision(store: ObjectStore) -> None:
    """A run whose form overrides a reason, and says why, promotes; the decision has both."""
    params = {**PARAMS, "override_codes": ["not_blessed"], "override_reason": "the threshold is stale"}
    returned = gate(store, "job-overridden", {**REPORT, "blessed": False}, context(params=params))

    decision = json.loads(store.read(returned["decision"]))
    assert (decision["verdict"], decision["reasons"][0]["code"]) == ("promote", "not_blessed")
    assert decision["override"]["codes"] == ["not_blessed"]
    assert decision["override"]["reason"] == "the threshold is stale"


@pytest.mark.parametrize(
    ("serving", "reported", "code"),
    [
        (Serving(name=CHAMPION, uri="gs://b/gone"), None, "champion_missing"),
        (Serving(name=CHAMPION, uri="gs://b/m", window="2015-06_train12_test1"), "report", "champion_newer"),
    ],
)
def test_the_gate_knows_what_serves(
    store: ObjectStore, serving: Serving, reported: str | None, code: str
) -> None:
    """A champion that is not compared with, or not fairly, rejects; an override goes on, and is kept."""
    report = (
        REPORT if reported else json.loads(replace(a_report(with_champion=False), window=WINDOW).to_json())
    )
    overriding = {**PARAMS, "override_codes": [code], "override_reason": "a test"}
    verdicts, reasons = [], []
    for run_id, params in (("judged", PARAMS), ("overridden", overriding)):
        running = context(f"{run_id}-{code}", params=params)
        store.write(run_of(running).baseline_uri, Baseline.of(None, serving).to_json())
        returned = gate(store, f"job-{run_id}-{code}".replace("_", "-"), report, running)
        decision = json.loads(store.read(returned["decision"]))
        verdicts.append(decision["verdict"])
        reasons.append([reason["code"] for reason in decision["reasons"]])

    assert (verdicts, reasons) == (["reject", "promote"], [[code], [code]])


def test_a_gate_that_does_not_know_what_served_decides_nothing(store: ObjectStore) -> None:
    """Without the record of what served, nobody can say what the report should compare with."""
    running = context("unrecorded", params=PARAMS)
    store.delete(run_of(running).baseline_uri)
    store.write("gs://taxi-local/reports/unrecorded/report.json", json.dumps(REPORT).encode())
    task = GateOperator(
        task_id="gate",
        job="projects/taxi-local/locations/us-central1/pipelineJobs/unrecorded",
        report_uri="gs://taxi-local/reports/unrecorded/report.json",
    )

    with pytest.raises(AirflowFailException, match="nobody knows what served before"):
        run_task(task, running)


@pytest.mark.parametrize(
    ("codes", "reason", "problem"),
    [
        (["not_blessed"], None, "needs a written reason"),
        ([], "because", "names the codes"),
        (["metric_missing"], "because", "cannot be overridden"),
    ],
)
def test_an_override_that_nobody_can_audit_is_refused(
    store: ObjectStore, codes: list[str], reason: str | None, problem: str
) -> None:
    """Neither the first task nor the gate takes one without reason or codes, or of missing numbers."""
    running = context(params={**PARAMS, "override_codes": codes, "override_reason": reason})

    with pytest.raises(AirflowFailException, match=problem):
        run_task(ValidateOperator(task_id="validate"), running)
    with pytest.raises(AirflowFailException, match=problem):
        gate(store, "job-unaudited", REPORT, running)


@pytest.mark.parametrize("content", [b'{"schema_version": 1}', b"[" * 100_000, b"\xff\xfe\xfd", b"9" * 5000])
def test_an_unreadable_report_is_a_failure(store: ObjectStore, content: bytes) -> None:
    """Without a report there is no decision, neither way, and no retry."""
    with pytest.raises(AirflowFailException, match="no decision about"):
        judge(store, "job-unreadable", content)

    with pytest.raises(FileNotFoundError):
        store.read("gs://taxi-local/runs/job-unreadable/decision.json")


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b'{"verdict": "maybe"}', b'{"verdict": []}'])
def test_what_is_not_a_decision_is_a_failure(store: ObjectStore, content: bytes) -> None:
    """An object in the decision's place that the gate has not written decides nothing, and is left alone."""
    store.write("gs://taxi-local/runs/job-foreign/decision.json", content)

    with pytest.raises(AirflowFailException, match="holds no decision"):
        gate(store, "job-foreign", REPORT)


def test_a_report_of_another_window_is_a_failure(store: ObjectStore) -> None:
    """A report that does not belong to this run decides nothing."""
    other = {**REPORT, "window": "2014-02_train12_test1"}

    with pytest.raises(AirflowFailException, match="2014-02_train12_test1"):
        gate(store, "job-other", other)
