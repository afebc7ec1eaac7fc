"""A run keeps the settings with which it began, whatever is deployed while it runs."""

from __future__ import annotations

import uuid
from copy import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import taxi_training
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from local_gcp.layout import BUCKET
from taxi_airflow.operators.validate import PreflightOperator, ValidateOperator
from taxi_airflow.runs import PINNED_BY, run_of
from tests.airflow.tasks import context, run_task
from vertex_airflow.objects import ObjectStore
from vertex_airflow.operators.roll_back import roll_back_when_timed_out

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.stack
PARAMS = {
    "window_end": "2015-02-01",
    "train_months": 12,
    "promote": True,
    "compare": True,
    "force_retrain": False,
}
ELSEWHERE = f"gs://{BUCKET}/elsewhere"
OWN_TASKS = [task for task in taxi_training.dag.tasks if "taxi()" in str(vars(task))]


def began(run_id: str = "", conf: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401  # Airflow's Context
    """Return the context of a run whose first task has ended."""
    ctx = context(run_id or uuid.uuid4().hex, params=PARAMS, conf=conf)
    validate(ctx)
    return ctx


def unpinned() -> Any:  # noqa: ANN401  # Airflow's Context
    """Return the context of a run whose first task has not returned anything."""
    ctx = context(params=PARAMS)
    ctx["ti"].pin = None
    return ctx


def validate(ctx: Any) -> dict[str, str]:  # noqa: ANN401  # Airflow's Context
    """Run the first task, and keep what it returned as XCom does."""
    returned: dict[str, str] = run_task(ValidateOperator(task_id=PINNED_BY), ctx)
    ctx["ti"].pulled[PINNED_BY] = returned
    return returned


def rendered(ctx: Any) -> dict[str, Any]:  # noqa: ANN401  # Airflow's Context
    """Return every field of the DAG's tasks that reads the run, as Airflow renders it."""
    names: Any = {**ctx, "taxi": run_of}
    return {
        f"{task.task_id}.{field}": task.render_template(getattr(task, field), names)
        for task in OWN_TASKS
        for field in task.template_fields
        if "taxi()" in str(getattr(task, field))
    }


@pytest.mark.usefixtures("cloud")
def test_a_deployment_in_mid_run_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operators and templates keep the bucket, region and image with which the run began."""
    ctx = began()
    before, fields = run_of(ctx), rendered(ctx)
    for name, text in (
        ("TAXI_BUCKET", ELSEWHERE),
        ("TAXI_REGION", "europe-west4"),
        ("TAXI_PIPELINE_IMAGE", "taxi-vertex/pipeline:2"),
        ("TAXI_COLOUR", "a setting that nobody knows"),
    ):
        monkeypatch.setenv(name, text)

    assert (run_of(ctx), rendered(ctx)) == (before, fields)
    assert ELSEWHERE not in str(fields)
    assert len(fields) > 20


@pytest.mark.usefixtures("cloud")
def test_a_run_that_timed_out_rolls_back_where_it_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow calls the DAG's callback in another process, whose environment may be newer than the run."""
    ctx = began()
    for name, text in (("TAXI_REGION", "europe-west4"), ("TAXI_ENDPOINT_NAME", "another")):
        monkeypatch.setenv(name, text)
    undoing: Any = copy(taxi_training.dag.get_task("promote.roll_back"))

    undoing.render_template_fields(ctx)

    assert (undoing.region, undoing.endpoint_name) == ("us-central1", "chicago-taxi-fare")
    assert undoing.baseline_uri == run_of(ctx).baseline_uri


@pytest.mark.usefixtures("cloud")
def test_a_roll_back_does_not_need_the_document() -> None:
    """A promotion is undone even where run.json is lost, or another version of the package has to read it."""
    ctx = began()
    uri = ctx["ti"].pulled[PINNED_BY]["run"]
    ObjectStore(gcp_conn_id="google_cloud_default").write(uri, b'{"schema_version": 0}')
    undoing: Any = copy(taxi_training.dag.get_task("promote.roll_back"))

    undoing.render_template_fields(ctx)

    assert (undoing.region, undoing.endpoint_name) == ("us-central1", "chicago-taxi-fare")
    assert undoing.baseline_uri == uri.replace("run.json", "baseline.json")


@pytest.mark.usefixtures("cloud")
def test_a_run_that_was_never_pinned_has_nothing_to_undo() -> None:
    """If validate fails, roll_back runs all the same, and must not look like the cause."""
    ctx = unpinned()
    ctx["ti"].states = {PINNED_BY: "failed", "gate": "upstream_failed"}
    undoing: Any = copy(taxi_training.dag.get_task("promote.roll_back"))
    undoing.render_template_fields(ctx)

    with pytest.raises(AirflowSkipException, match="this run registered no model"):
        run_task(undoing, ctx)


@pytest.mark.usefixtures("cloud")
def test_a_model_whose_place_is_unknown_is_not_looked_for() -> None:
    """A run that began under an older version has not said where its model would be deployed."""
    ctx = unpinned()
    ctx["ti"].pulled["promote.register"] = {"model": "projects/taxi-local/locations/us-central1/models/m@2"}
    undoing: Any = copy(taxi_training.dag.get_task("promote.roll_back"))
    undoing.render_template_fields(ctx)

    with pytest.raises(AirflowFailException, match="region is empty"):
        run_task(undoing, ctx)


@pytest.mark.usefixtures("cloud")
def test_a_run_that_timed_out_before_it_was_pinned_has_nothing_to_undo() -> None:
    """Airflow would log an exception of the callback as an error of the DAG."""
    ctx = unpinned()
    ctx.update(dag=taxi_training.dag, reason="timed_out")

    roll_back_when_timed_out(ctx)


@pytest.mark.usefixtures("cloud")
def test_the_document_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many fields a task has, its process reads Cloud Storage once."""
    ctx = began()
    reads: list[str] = []
    read = ObjectStore.read

    def counted(store: ObjectStore, uri: str) -> bytes:
        reads.append(uri)
        return read(store, uri)

    monkeypatch.setattr(ObjectStore, "read", counted)

    rendered(ctx)
    run_of(ctx)

    assert reads == [run_of(ctx).uri]


@pytest.mark.usefixtures("cloud")
def test_a_cleared_first_task_keeps_what_was_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another try, and a person who clears it after a change, find the run as it began."""
    ctx = began()
    pinned = ctx["ti"].pulled[PINNED_BY]
    monkeypatch.setenv("TAXI_TRAIN_STEPS", "7")

    assert validate(ctx) == pinned
    assert run_of(ctx).settings.train_steps == 0


@pytest.mark.usefixtures("whole_cloud")
def test_a_cleared_run_is_found_after_the_bucket_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pin is found through preflight's result, because Airflow has deleted the one of validate."""
    ctx = began()
    pinned = ctx["ti"].pulled.pop(PINNED_BY)
    ctx["ti"].pulled["validate"] = pinned
    ctx["ti"].pulled["preflight"] = run_task(PreflightOperator(task_id="preflight"), ctx)
    monkeypatch.setenv("TAXI_BUCKET", ELSEWHERE)

    assert validate(ctx) == pinned


@pytest.mark.usefixtures("whole_cloud")
def test_a_cleared_preflight_that_fails_says_where_the_run_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a new deployment it may fail for good, and validate may be cleared once more after that."""
    monkeypatch.setenv("TAXI_PIPELINE_IMAGE", "taxi-vertex/pipeline:stale")
    ctx = began()

    with pytest.raises(AirflowFailException, match="To change a setting, start a new run"):
        run_task(PreflightOperator(task_id="preflight"), ctx)

    assert ctx["ti"].xcom["return_value"] == run_of(ctx).uri


@pytest.mark.usefixtures("cloud")
def test_another_run_of_the_same_id_is_refused() -> None:
    """A run that was deleted and triggered again with another form does not take over the old settings."""
    run_id = uuid.uuid4().hex
    began(run_id, conf={"train_months": 12})

    with pytest.raises(AirflowFailException, match="belongs to an earlier run of this id"):
        began(run_id, conf={"train_months": 13})


@pytest.mark.usefixtures("cloud")
def test_a_later_run_of_the_same_id_is_refused() -> None:
    """Nor does it train for the month of the run that was deleted, if neither form names one."""
    run_id = uuid.uuid4().hex
    began(run_id)
    later = context(run_id, params=PARAMS)
    later["dag_run"].run_after += timedelta(days=31)

    with pytest.raises(AirflowFailException, match="belongs to an earlier run of this id"):
        validate(later)


@pytest.mark.usefixtures("cloud")
def test_a_bucket_that_does_not_exist_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first task writes to the bucket, and says what to fix where it cannot."""
    monkeypatch.setenv("TAXI_BUCKET", "gs://nobody")

    with pytest.raises(
        AirflowFailException, match=r"gs://nobody/runs/\S+ cannot be written: NotFound.*create it"
    ):
        began()


@pytest.mark.usefixtures("cloud")
def test_a_run_that_is_not_pinned_says_what_to_clear() -> None:
    """Without the first task, or with a document of another version, a task fails for good."""
    ctx = unpinned()
    uri = f"gs://{BUCKET}/tests/{uuid.uuid4().hex}/run.json"
    ObjectStore(gcp_conn_id="google_cloud_default").write(uri, b'{"schema_version": 0}')

    with pytest.raises(AirflowFailException, match="clear validate, then this task"):
        run_of(ctx)
    ctx["ti"].pulled[PINNED_BY] = {"run": uri}
    with pytest.raises(AirflowFailException, match=r"was not written by this version .*; start a new run"):
        run_of(ctx)
