"""A run keeps the settings with which it began, whatever is deployed while it runs."""

from __future__ import annotations

import uuid
from copy import copy
from typing import TYPE_CHECKING, Any

import pytest
import taxi_training
from airflow.sdk.exceptions import AirflowFailException

from local_gcp.layout import BUCKET
from taxi_airflow.operators.validate import PreflightOperator, ValidateOperator
from taxi_airflow.runs import PINNED_BY, run_of
from tests.airflow.tasks import context, run_task
from vertex_airflow.objects import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.stack
PARAMS = {"window_end": "2015-02-01", "train_months": 12, "promote": True, "force_retrain": False}
ELSEWHERE = f"gs://{BUCKET}/elsewhere"
OWN_TASKS = [task for task in taxi_training.dag.tasks if "taxi()" in str(vars(task))]


def began(run_id: str = "", conf: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401  # Airflow's Context
    """Return the context of a run whose first task has ended."""
    ctx = context(run_id or uuid.uuid4().hex, params=PARAMS, conf=conf)
    validate(ctx)
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


@pytest.mark.usefixtures("cloud")
def test_another_run_of_the_same_id_is_refused() -> None:
    """A run that was deleted and triggered again with another form does not take over the old settings."""
    run_id = uuid.uuid4().hex
    began(run_id, conf={"train_months": 12})

    with pytest.raises(AirflowFailException, match="belongs to an earlier run of this id"):
        began(run_id, conf={"train_months": 13})


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
    """Without the first task, or with a document of another version, a task fails without a retry."""
    ctx = context(params=PARAMS)
    ctx["ti"].pin = None
    uri = f"gs://{BUCKET}/tests/{uuid.uuid4().hex}/run.json"
    ObjectStore(gcp_conn_id="google_cloud_default").write(uri, b'{"schema_version": 0}')

    with pytest.raises(AirflowFailException, match="clear validate, then this task"):
        run_of(ctx)
    ctx["ti"].pulled[PINNED_BY] = {"run": uri}
    with pytest.raises(AirflowFailException, match=r"was not written by this version .*; start a new run"):
        run_of(ctx)
