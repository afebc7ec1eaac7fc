from __future__ import annotations

import csv
import json
import uuid
from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

import taxi_ml
from taxi_airflow.operators.modules import UploadModulesOperator, WriteRequestOperator
from taxi_airflow.operators.rows import CheckRowsOperator, WaitForTripsOperator
from taxi_airflow.operators.statement import ExportSplitOperator, StatementOperator
from taxi_airflow.operators.validate import ValidateOperator
from taxi_airflow.runs import run_of
from taxi_ml import naming, sql
from taxi_ml.modules.features import MISSING, NULLABLE_FLOATS
from taxi_ml.pipeline.request import CompileRequest
from taxi_ml.splits import Split
from taxi_ml.sql.ranges import ranges
from tests.airflow.tasks import context, run_task

if TYPE_CHECKING:
    from taxi_ml.window import Window
    from tests.local_stack import LocalStack
    from vertex_airflow.objects import ObjectStore

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("cloud")]
MODULES = Path(taxi_ml.__file__).parent / "modules"
SCHEMA = MODULES.parent / "schema.pbtxt"
CHAMPION = "projects/p/locations/l/models/m@3"
PARAMS = {"window_end": "2015-02-01", "train_months": 12}
ROWS = '{"train": 4000, "eval": 200, "test": 300}'


def test_the_first_writer_wins(store: ObjectStore) -> None:
    """write_once() never overwrites, and reports whether it wrote."""
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
    """The error for an object that does not exist names its address."""
    with pytest.raises(FileNotFoundError, match="gs://taxi-local/nothing/here"):
        store.read("gs://taxi-local/nothing/here")


def test_uploaded_modules_are_where_their_content_says(store: ObjectStore) -> None:
    """Uploading twice gives one address, with the modules' bytes."""
    task = UploadModulesOperator(task_id="upload", folder=str(MODULES), schema=str(SCHEMA))

    first, again = (run_task(task, context(params=PARAMS)) for _ in range(2))

    assert first == again
    for path in (MODULES / "trainer.py", SCHEMA):
        assert path.read_bytes() == store.read(f"gs://taxi-local/modules/{first}/{path.name}")


def test_a_module_with_a_syntax_error_fails_with_its_line(tmp_path: Path) -> None:
    """A module that would break the pipeline later fails the upload, with file and line."""
    (tmp_path / "preprocessing.py").write_text("def preprocessing_fn(inputs):\n    return inputs\n")
    (tmp_path / "refit.py").write_text("def run_fn(args):\n    return args\n")
    (tmp_path / "trainer.py").write_text("def run_fn(args):\n    return (\n")
    task = UploadModulesOperator(task_id="upload", folder=str(tmp_path), schema=str(SCHEMA))

    with pytest.raises(AirflowFailException, match=r"trainer\.py:2"):
        run_task(task, context(params=PARAMS))


@pytest.mark.parametrize(
    ("name", "uri", "champion"),
    [
        ("", "gs://b/m/", None),
        (CHAMPION, "", None),
        (CHAMPION, "gs://b/m/", (CHAMPION, "gs://b/m")),
    ],
)
def test_the_pipeline_is_given_the_champion(
    store: ObjectStore, name: str, uri: str, champion: tuple[str, str] | None
) -> None:
    """The compiler learns if there is a champion and if the cache is used, the pipeline which champion."""
    task = WriteRequestOperator(
        task_id="write",
        modules_digest="abc",
        rows=ROWS,
        champion_name=name,
        champion_uri=uri,
        enable_cache="False",
    )

    written = run_task(task, context(params=PARAMS))

    request = CompileRequest.parse(store.read(f"{written['compiled']}/request.json").decode())
    values = json.loads(store.read(written["parameters"]))
    given = (values["champion_name"], values["champion_uri"]) if "champion_name" in values else None
    assert (champion is not None, False, champion) == (request.compares, request.enable_cache, given)


def test_the_trainer_is_given_the_members(store: ObjectStore) -> None:
    """The folders of the models to average with are options of the Trainer; the request is the same."""
    written = [
        run_task(
            WriteRequestOperator(task_id="write", modules_digest="abc", rows=ROWS, members=members),
            context(params=PARAMS),
        )
        for members in ("", "gs://b/2 gs://b/1")
    ]
    options = json.loads(json.loads(store.read(written[1]["parameters"]))["training_options"])

    assert written[0]["compiled"] == written[1]["compiled"]
    assert options["members"] == ["gs://b/2", "gs://b/1"]


def test_a_month_without_a_change_has_the_address_of_the_one_before(store: ObjectStore) -> None:
    """Window, data and models are the run's own; what is compiled, and where it lies, is the same."""
    runs = (
        ("first", PARAMS, CHAMPION, ""),
        ("next", {**PARAMS, "window_end": "2015-03-01"}, CHAMPION.replace("@3", "@4"), CHAMPION),
    )
    written = [
        run_task(
            WriteRequestOperator(
                task_id="write",
                modules_digest="abc",
                rows=ROWS,
                champion_name=champion,
                champion_uri=f"gs://b/{run_id}",
                anchor_name=anchor,
                anchor_uri=f"gs://b/{anchor}",
            ),
            context(run_id, params=params),
        )
        for run_id, params, champion, anchor in runs
    ]
    values = [json.loads(store.read(each["parameters"])) for each in written]

    assert written[0]["compiled"] == written[1]["compiled"]
    assert written[0]["parameters"] != written[1]["parameters"]
    assert {name for name in values[0] if values[0][name] != values[1][name]} == {
        "anchor_name",
        "anchor_uri",
        "champion_name",
        "champion_uri",
        "data_uri",
        "push_destination",
        "training_options",  # the address of the pair averages
        "window",
    }


def test_the_door_names_everything_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """All wrong settings are reported in one error, and nothing is retried."""
    monkeypatch.setenv("TAXI_BUCKET", "taxi-local")
    monkeypatch.setenv("TAXI_COLOUR", "red")

    with pytest.raises(AirflowFailException) as raised:
        run_task(
            ValidateOperator(task_id="validate"), context(params=PARAMS, conf={"windowend": "2015-03-01"})
        )

    assert "gs://<bucket>" in str(raised.value)
    assert "colour" in str(raised.value)
    assert "parameter 'windowend' is unknown; remove it, or choose from" in str(raised.value)


def export(**params: int) -> dict[str, Any]:
    """Build the window's table, count it and export its splits, as the DAG does; return what was counted."""
    ctx = context(params={**PARAMS, **params})
    create = StatementOperator(task_id="create", statement=lambda settings, _: sql.create_schema(settings))
    run_task(create, ctx)
    run_task(StatementOperator(task_id="build", statement=sql.build_dataset), ctx)
    counted: dict[str, Any] = run_task(CheckRowsOperator(task_id="check"), ctx)
    rows = json.dumps(counted["rows"])
    for split in Split:
        task = ExportSplitOperator(task_id=split.value, split=split, rows="{{ rows }}")
        rendered = copy(task)  # as Airflow renders templates
        rendered.rows = rows
        run_task(rendered, ctx)
    return counted


def test_splits_are_exported(store: ObjectStore) -> None:
    """The provider's operator runs our statements: each split has files with a header."""
    export()

    for split in Split:
        files = store.matching(f"gs://taxi-local/data/2015-02_train12_test1/{split}/trips_*.csv")
        assert store.read(files[0]).startswith(b"trip_id,")


def test_exported_trips_are_within_the_ranges_of_their_model(store: ObjectStore) -> None:
    """Every trip that a model is trained on is one that it may be sent to predict."""
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


def exported(store: ObjectStore, split: Split) -> set[str]:
    """Return the ids of the trips in the files of a split."""
    uris = store.matching(f"gs://taxi-local/data/2015-02_train12_test1/{split}/trips_*.csv")
    return {row["trip_id"] for uri in uris for row in csv.DictReader(store.read(uri).decode().splitlines())}


def test_a_capped_run_exports_a_sample(store: ObjectStore) -> None:
    """Above the form's caps each split is sampled to about that size, and its full count is reported."""
    everything = export()["rows"]
    whole = {split: exported(store, split) for split in Split}
    counted = export(max_train_rows=2000, max_test_rows=310)
    sample = {split: exported(store, split) for split in Split}

    assert counted["rows"] == everything == {split: len(ids) for split, ids in whole.items()}
    assert all(sample[split] < whole[split] for split in Split)
    assert len(sample[Split.TRAIN]) == pytest.approx(2000, abs=200)
    assert len(sample[Split.TEST]) == pytest.approx(310, abs=60)
    assert f"train {everything['train']:,} trips, sampled to 2,000 (" in counted["sizing"]


def test_an_export_without_counts_deletes_nothing(store: ObjectStore) -> None:
    """A run without counted rows names the task to clear, before it touches existing files."""
    kept = "gs://taxi-local/data/2015-02_train12_test1/test/trips_777777777777.csv"
    store.write(kept, b"trip_id\nkept\n")

    with pytest.raises(AirflowFailException, match="clear check_rows"):
        run_task(ExportSplitOperator(task_id="test", split=Split.TEST, rows="null"), context(params=PARAMS))

    assert store.read(kept) == b"trip_id\nkept\n"


def test_the_request_is_that_of_the_runs_size(store: ObjectStore) -> None:
    """Steps, machines and Beam's runner are those that follow from the rows; the steps are a parameter."""
    rows = json.dumps({"train": 20_000_000, "eval": 1_000_000, "test": 300_000})
    task = WriteRequestOperator(task_id="write", modules_digest="abc", rows=rows, enable_cache="False")

    with pytest.raises(AirflowFailException, match=r"TAXI_MAX_TRAIN_ROWS=\d+"):
        run_task(task, context(params={**PARAMS, "max_train_rows": 0}))
    written = run_task(task, context(params={**PARAMS, "max_train_rows": 3_000_000}))

    values = json.loads(store.read(written["parameters"]))
    assert json.loads(values["train_args"])["num_steps"] == 23_438


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
    """Too few rows fail without a retry, with the counts of each split."""
    ctx = context(params={"window_end": "2016-09-01", "train_months": 2})
    create = StatementOperator(task_id="create", statement=lambda settings, _: sql.create_schema(settings))
    run_task(create, ctx)
    run_task(StatementOperator(task_id="build", statement=sql.build_dataset), ctx)

    with pytest.raises(AirflowFailException, match=r"train has \d+ of 1000[\s\S]*start a new run"):
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
            r"none starts on 2015-01-16 to 2015-01-31 \(16 days\), and at most 1 may be without",
        ),
    ],
)
def test_damaged_trips_stop_a_run(
    cloud: LocalStack, monkeypatch: pytest.MonkeyPatch, table: str, problem: str
) -> None:
    """Duplicates, lost days and a test month that stops early fail without a retry and are named."""
    client, name = cloud.bigquery_client(), f"taxi-local.taxi.damaged_{uuid.uuid4().hex}"
    monkeypatch.setenv("TAXI_TRIPS_TABLE", name)
    ctx = context(params=PARAMS)
    create = StatementOperator(task_id="create", statement=lambda settings, _: sql.create_schema(settings))
    run_task(create, ctx)
    trips = "`bigquery-public-data.chicago_taxi_trips.taxi_trips`"
    client.query(f"CREATE TABLE `{name}` AS {table.format(trips=trips)}").result()
    run_task(StatementOperator(task_id="build", statement=sql.build_dataset), ctx)

    with pytest.raises(AirflowFailException, match=problem):
        run_task(CheckRowsOperator(task_id="check"), ctx)


def test_trips_that_are_there_are_not_waited_for() -> None:
    """A complete month of the real trips is let through at once, with the day of its newest trip."""
    found = run_task(WaitForTripsOperator(task_id="wait"), context(params=PARAMS))

    assert found == "2015-01-31"


def test_a_month_that_stops_early_is_waited_for(cloud: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task defers to a point in time, continues once the trips arrive, and fails at the deadline."""
    client, name = cloud.bigquery_client(), f"taxi-local.taxi.late_{uuid.uuid4().hex}"
    today = datetime.now(UTC).date()
    end = today.replace(day=1)
    monkeypatch.setenv("TAXI_TRIPS_TABLE", name)
    monkeypatch.setenv("TAXI_WAIT_DAYS", "60")
    ctx = context(params={"window_end": f"{end}"})
    create = StatementOperator(task_id="create", statement=lambda settings, _: sql.create_schema(settings))
    run_task(create, ctx)
    newest = end - timedelta(days=9)
    trips = f"SELECT TIMESTAMP '{newest} 12:00:00' AS trip_start_timestamp"
    client.query(f"CREATE TABLE `{name}` AS {trips}").result()
    task = WaitForTripsOperator(task_id="wait")
    with pytest.raises(TaskDeferred) as waiting:
        task.execute(ctx)
    with pytest.raises(TaskDeferred):
        task.execute_complete(ctx, event=None)
    monkeypatch.setenv("TAXI_WAIT_DAYS", "0")
    with pytest.raises(AirflowFailException, match=rf"is of {newest}. 8 days[\s\S]*start a new run"):
        task.execute(context(params={"window_end": f"{end}"}))
    last = end - timedelta(days=1)
    client.query(f"INSERT `{name}` VALUES (TIMESTAMP '{last} 23:45:00')").result()

    assert waiting.value.method_name == "execute_complete"
    assert timedelta(hours=5) < waiting.value.trigger.moment - datetime.now(UTC) <= timedelta(hours=6)
    assert task.execute_complete(ctx, event=None) == f"{last}"
