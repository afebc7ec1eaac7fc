"""Tests of the whole DAG in a real Airflow, on real trips, against the local cloud."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from local_gcp.airflow_client import AirflowError, RunState
from taxi_ml.gate.champion import parse_window
from taxi_ml.promotion.golden import Golden
from taxi_ml.promotion.golden_check import GoldenCheckRecord
from tests.e2e.runs import DAG_ID, SMALL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.e2e.runs import Runs

pytestmark = [pytest.mark.e2e, pytest.mark.pipeline, pytest.mark.timeout(1200)]


def _instance(trip: Mapping[str, str]) -> dict[str, float]:
    numbers = {name: float(text) for name, text in trip.items() if name not in {"trip_id", "fare"}}
    return {name: number for name, number in numbers.items() if number >= 0}


def test_first_month_promotes(runs: Runs, first_month: tuple[str, dict[str, str | None]]) -> None:
    """A run over real trips goes from BigQuery to a decision to promote."""
    run_id, states = first_month
    decision = runs.json(runs.airflow.xcom(DAG_ID, run_id, "gate")["decision"])

    assert (decision["verdict"], states["promote.shift_traffic"]) == ("promote", "success")


@pytest.mark.parametrize(
    ("task", "link", "target"),
    [
        ("build_dataset", "BigQuery job", "/bigquery?project=taxi-local&ws=!1m5!1m4!1m3!1staxi-local!2s"),
        ("run_pipeline", "Vertex AI", "/console/projects/"),
        ("gate", "Model card", "/card.html"),
    ],
)
def test_tasks_link_to_what_they_worked_on(
    runs: Runs, first_month: tuple[str, dict[str, str | None]], task: str, link: str, target: str
) -> None:
    """The web server has a link to the job, the pipeline and the card."""
    run_id, _ = first_month

    assert target in (runs.airflow.links(DAG_ID, run_id, task)[link] or "")


def test_promoted_version_is_the_champion_and_serves_all_traffic(
    runs: Runs, first_month: tuple[str, dict[str, str | None]]
) -> None:
    """After a promotion one model has all of the traffic, and the registry calls it the champion."""
    run_id, _ = first_month
    registered = runs.airflow.xcom(DAG_ID, run_id, "promote.register")["model"]
    (endpoint,) = runs.endpoints()
    (deployed,) = endpoint.deployed_models
    champion = runs.model(f"{registered.partition('@')[0]}@champion")

    assert (champion.version_id, dict(endpoint.traffic_split)) == (
        deployed.model_version_id,
        {deployed.id: 100},
    )


def test_promoted_model_is_registered_where_it_stays(
    runs: Runs, first_month: tuple[str, dict[str, str | None]]
) -> None:
    """The version's files are the Pusher's copy, which no rule of the bucket deletes by age."""
    run_id, _ = first_month
    registered = runs.airflow.xcom(DAG_ID, run_id, "promote.register")["model"]
    window = runs.airflow.xcom(DAG_ID, run_id, "validate")["window"]

    assert runs.model(registered).artifact_uri.startswith(f"gs://taxi-local/serving/{window}/")


def test_promoted_version_says_what_it_was_trained_on(
    runs: Runs, first_month: tuple[str, dict[str, str | None]]
) -> None:
    """Later runs read from its labels which test months are fair."""
    run_id, _ = first_month
    registered = runs.airflow.xcom(DAG_ID, run_id, "promote.register")["model"]
    labels = runs.model(registered).labels
    trained = parse_window(labels["window"])

    assert trained is not None
    assert (labels["trained_from"], labels["trained_until"]) == (
        f"{trained.train_start}",
        f"{trained.test_start}",
    )


def test_endpoint_predicts_a_fare_for_a_real_trip(
    runs: Runs, first_month: tuple[str, dict[str, str | None]]
) -> None:
    """The endpoint answers the raw features of a test trip with a fare that is not far off."""
    run_id, _ = first_month
    trip = runs.first_test_trip(runs.airflow.xcom(DAG_ID, run_id, "validate")["window"])
    (endpoint,) = runs.endpoints()
    predicted = runs.predict(endpoint.name, _instance(trip))

    assert math.isclose(float(trip["fare"]), predicted, rel_tol=0.75, abs_tol=5)


def test_promoted_model_answers_as_it_was_evaluated(
    runs: Runs, first_month: tuple[str, dict[str, str | None]]
) -> None:
    """The deployed model's container answered all golden trips before it got the traffic."""
    run_id, _ = first_month
    decided = runs.airflow.xcom(DAG_ID, run_id, "gate")
    golden = Golden.parse(runs.text(decided["golden"]))
    record = GoldenCheckRecord.parse(runs.text(decided["golden_check"]))

    assert (record.rows, record.differing, record.problem) == (len(golden.trips), 0, "")
    assert record.largest_difference is not None
    assert record.largest_difference < 1e-4
    assert record.challenger is not None


def test_next_month_is_compared_with_the_champion_on_the_same_rows(
    runs: Runs, second_month: tuple[str, dict[str, str | None]]
) -> None:
    """The second run scores the serving model and its own on the rows of the same test month."""
    run_id, _ = second_month
    report = runs.json(runs.airflow.xcom(DAG_ID, run_id, "gate")["report"])
    counts = {report[role]["metrics"]["count"] for role in ("challenger", "champion")}

    assert (counts, report["difference"] is None) == ({report["rows"]["test"]}, False)


def test_run_that_only_evaluates_changes_nothing(
    runs: Runs, second_month: tuple[str, dict[str, str | None]]
) -> None:
    """With promote off, the endpoint serves what it served before, whatever the gate said."""
    run_id, states = second_month
    (endpoint,) = runs.endpoints()

    assert (states["promote.register"], len(endpoint.deployed_models)) == ("skipped", 1)
    assert runs.airflow.run_state(DAG_ID, run_id) == RunState.SUCCESS


def test_window_without_enough_trips_stops_before_the_pipeline(runs: Runs) -> None:
    """A window of 2016 has too few test trips: the run fails with the counts and submits nothing."""
    run_id, states = runs.run({"window_end": "2016-07-01", "test_months": 1, **SMALL})

    assert (states["check_rows"], states["compile"] != "failed", states["run_pipeline"]) == (
        "failed",
        True,
        "upstream_failed",
    )
    assert "test" in runs.log(run_id, "check_rows")


def test_window_end_inside_a_month_fails_at_the_door(runs: Runs) -> None:
    """A window that ends in mid-month fails in the first task, which names value and remedy."""
    run_id, states = runs.run({"window_end": "2015-02-10"})

    assert (states["validate"], states["build_dataset"]) == ("failed", "upstream_failed")
    assert "2015-02-10 is inside a month; give the first day" in runs.log(run_id, "validate")


def test_parameter_of_the_wrong_type_is_refused_by_the_form(runs: Runs) -> None:
    """Airflow refuses a run whose parameters break their types, before any task exists."""
    with pytest.raises(AirflowError, match="train_months"):
        runs.airflow.trigger(DAG_ID, {"train_months": -3})
