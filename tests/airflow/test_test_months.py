"""The first task of a run chooses its test months, and every other task works with them."""

from __future__ import annotations

import json
import os
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow.findings import Status
from taxi_airflow.operators.validate import PreflightOperator, ValidateOperator
from taxi_airflow.preflight import look
from taxi_airflow.runs import PINNED_BY, run_of
from tests.airflow.promotion import NAME
from tests.airflow.servers import REGION
from tests.airflow.tasks import context, run_task
from vertex_airflow.hooks.vertex import VertexHook
from vertex_airflow.objects import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.airflow.servers import Running

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("whole_cloud")]
PARAMS = {"window_end": "2015-07-01", "train_months": 12, "promote": True}


def began(**params: Any) -> Any:  # noqa: ANN401  # fields of the form; Airflow's Context
    """Return the context of a run whose first task has ended."""
    ctx = context(uuid.uuid4().hex, params={**PARAMS, **params})
    ctx["ti"].pulled[PINNED_BY] = run_task(ValidateOperator(task_id=PINNED_BY), ctx)
    return ctx


def preflight(ctx: Any) -> None:  # noqa: ANN401  # Airflow's Context
    """Run the second task."""
    run_task(PreflightOperator(task_id="preflight"), ctx)


def serve(labels: Mapping[str, str]) -> None:
    """Deploy a version with these labels, and give it all traffic."""
    hook = VertexHook(region=REGION)
    folder = f"{os.environ['TAXI_BUCKET']}/tests/{uuid.uuid4().hex}"
    ObjectStore(gcp_conn_id="google_cloud_default").write(f"{folder}/saved_model.pb", b"")
    model = {
        "display_name": NAME,
        "artifact_uri": folder,
        "container_spec": {"image_uri": "taxi-vertex/pipeline:local"},
        "labels": dict(labels),
    }
    uploading: Any = hook.models.upload_model({"parent": hook.location, "model": model})
    creating: Any = hook.endpoints.create_endpoint(
        {"parent": hook.location, "endpoint": {"display_name": NAME}, "endpoint_id": NAME}
    )
    machine = {"machine_spec": {"machine_type": "n1-standard-2"}, "min_replica_count": 1}
    deploying: Any = hook.endpoints.deploy_model(
        {
            "endpoint": creating.result().name,
            "deployed_model": {"model": uploading.result().model, "dedicated_resources": machine},
            "traffic_split": {"0": 100},
        }
    )
    deploying.result()


def test_small_months_are_tested_on_together(capsys: pytest.CaptureFixture[str]) -> None:
    """The bundled trips have some 400 a month; what is chosen names everything that the run makes."""
    run = run_of(began())

    assert (run.window.id, run.settings.test_months) == ("2015-07_train12_test3", 3)
    assert run.labels["window"] == run.window.id
    assert "3 test months, chosen by the number of trips: about 1," in capsys.readouterr().out


def test_everything_that_the_first_task_returns_is_of_the_chosen_window() -> None:
    """Tables and folders are those of three test months."""
    returned = began()["ti"].pulled[PINNED_BY]

    assert returned["window"] == "2015-07_train12_test3"
    assert returned["dataset"].endswith("trips_2015_07_train12_test3")
    assert returned["splits"].endswith("/data/2015-07_train12_test3")


@pytest.mark.parametrize("months", [1, 5])
def test_a_number_stays_as_it_is(months: int) -> None:
    """A form that names the months is not asked what it means."""
    assert run_of(began(test_months=months)).window.test_months == months


def test_the_installations_number_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a setting that names them, unless the form leaves it to the trips."""
    monkeypatch.setenv("TAXI_TEST_MONTHS", "2")

    assert run_of(began()).window.test_months == 2
    assert run_of(began(test_months=0)).window.test_months == 3


def test_a_number_needs_no_trips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is counted where nothing is to be chosen; otherwise the error says what to set."""
    monkeypatch.setenv("TAXI_TRIPS_TABLE", "bigquery-public-data.chicago_taxi_trips.none")

    assert run_of(began(test_months=1)).window.test_months == 1
    with pytest.raises(
        AirflowFailException, match=r"cannot be counted to choose test_months \(TAXI_TEST_MON"
    ):
        began()


def test_an_outage_is_worth_another_try(running_with_images: Running) -> None:
    """The first task fails with a retry if it cannot look up what serves."""
    running_with_images.stop()

    with pytest.raises(Exception, match="cannot be counted") as failed:
        began()

    assert not isinstance(failed.value, AirflowFailException)


def test_a_choice_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first task that is cleared finds what it chose, even after another model has begun to serve."""
    ctx = began()
    monkeypatch.setenv("TAXI_TEST_MONTHS", "1")
    serve({"window": "2015-06_train24_test1"})

    run_task(ValidateOperator(task_id=PINNED_BY), ctx)

    assert run_of(ctx).window.test_months == 3
    document = json.loads(ObjectStore(gcp_conn_id="google_cloud_default").read(run_of(ctx).uri))
    assert document["settings"]["test_months"] == 3


@pytest.mark.parametrize(
    ("labels", "months"),
    [
        ({"window": "2015-06_train24_test1"}, 2),
        ({"window": "2015-06_train24_test3"}, 3),
        ({"window": "2015-06_train24_test1", "trained_from": "2013-05-01", "trained_until": "2015-06-01"}, 1),
        ({}, 3),
    ],
)
def test_the_champion_is_compared_on_what_it_has_not_seen(labels: dict[str, str], months: int) -> None:
    """A champion of one test month, or one that was trained again, leaves fewer; the run can start."""
    serve(labels)

    ctx = began()
    preflight(ctx)

    assert run_of(ctx).window.test_months == months


def test_the_command_chooses_as_a_run_does() -> None:
    """`python -m taxi_airflow.preflight` checks the window that a run would have."""
    found = look(os.environ, window_end="2015-07-01")

    assert [each.text[:13] for each in found if each.subject == "test_months"] == ["3 test months"]
    assert any("window 2015-07_train24_test3" in each.text for each in found)


def test_the_command_goes_on_without_trips(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that cannot be counted does not hide what else is wrong."""
    monkeypatch.setenv("TAXI_TRIPS_TABLE", "bigquery-public-data.chicago_taxi_trips.none")
    monkeypatch.setenv("TAXI_MACHINE_TYPE", "n1-standard-5")

    found = look(os.environ, window_end="2015-07-01")

    assert {"test_months", "trips", "machine_type"} <= {each.subject for each in found if each.failed}


def test_preflight_finds_a_champion_that_has_seen_the_test_months() -> None:
    """A run whose months are named ends before it waits for trips, with every way out."""
    serve({"window": "2015-07_train24_test1"})

    with pytest.raises(AirflowFailException, match="none of the test months of 2015-07_train12_test3") as end:
        preflight(began(test_months=3))

    ways = ("Promote off", "give 1 as test_months", "another window_end", "override champion_newer")
    assert all(way in str(end.value) for way in ways)


@pytest.mark.parametrize("window_end", ["2015-03-01", "2015-05-01"])
def test_older_months_end_before_they_wait(window_end: str) -> None:
    """Runs of February and April meet the champion of June, which has learned from both."""
    serve({"window": "2015-06_train24_test1"})

    with pytest.raises(AirflowFailException, match=r"champion_newer: window of .* is 2015-06_train24_test1"):
        preflight(began(window_end=window_end))


@pytest.mark.parametrize(
    "choice",
    [{"promote": False}, {"override_codes": ["champion_newer"], "override_reason": "a test"}],
)
def test_an_older_month_that_promotes_nothing_starts(choice: dict[str, Any]) -> None:
    """So does one whose form overrides the reason."""
    serve({"window": "2015-06_train24_test1"})

    preflight(began(window_end="2015-03-01", **choice))


def test_preflight_finds_a_champion_without_files() -> None:
    """What find_champion would say after the wait is known before it."""
    serve({"window": "2015-06_train24_test1"})
    store = ObjectStore(gcp_conn_id="google_cloud_default")
    (champion,) = VertexHook(region=REGION).models.list_models(parent=VertexHook(region=REGION).location)
    store.delete(f"{champion.artifact_uri}/saved_model.pb")

    found = look(os.environ, window_end="2015-08-01")

    assert [each.text[:16] for each in found if each.failed] == ["champion_missing"]


def test_a_cleared_run_meets_the_champion_that_it_has_met() -> None:
    """After its own promotion, a run is compared with what served before it."""
    ctx = began()
    store = ObjectStore(gcp_conn_id="google_cloud_default")
    store.write(run_of(ctx).baseline_uri, b'{"champion": null, "deployed": {}, "split": {}}')
    serve({"window": "2015-07_train12_test3", "trained_from": "2014-04-01", "trained_until": "2015-07-01"})

    preflight(ctx)

    checked = look(os.environ, window_end="2015-07-01")
    assert [each.status for each in checked if each.subject == "champion"] == [Status.PROBLEM]
