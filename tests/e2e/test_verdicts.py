"""The gate inside the DAG: its decisions on models of corrupted and of sound labels."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.runs import DAG_ID, SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.runs import Runs
    from tests.local_stack import LocalStack

TRIPS = "`bigquery-public-data.chicago_taxi_trips.taxi_trips`"
SOUND = "`bigquery-public-data.chicago_taxi_trips.sound_trips`"
# Every trip of the training months gets another one's fare: nothing but the label gives it away.
SHUFFLED = f"""
CREATE OR REPLACE TABLE {TRIPS} AS
WITH others AS (
  SELECT unique_key, LEAD(fare) OVER (ORDER BY FARM_FINGERPRINT(unique_key)) AS fare
  FROM {SOUND}
  WHERE trip_start_timestamp < TIMESTAMP '2015-02-01'
)
SELECT sound.* REPLACE (IFNULL(others.fare, sound.fare) AS fare)
FROM {SOUND} AS sound LEFT JOIN others ON others.unique_key = sound.unique_key
"""
# One test month, of which no fare is shuffled.
MONTH = {"window_end": "2015-03-01", "test_months": 1}
CORRUPTED = {**MONTH, "train_steps": 200, "tuner_trials": 0}
# Shuffled fares make no anomaly, no drift, no missing number.
ABOUT_THE_DATA = {
    "data_anomaly",
    "data_drift",
    "drift_missing",
    "metric_missing",
    "slices_missing",
    "too_few_rows",
}

pytestmark = [pytest.mark.e2e, pytest.mark.pipeline, pytest.mark.timeout(1200)]


class Outcome:
    """The decision of a run, and the model that serves after it."""

    def __init__(self, runs: Runs, conf: dict[str, Any]) -> None:
        self.run_id, self.states = runs.run(conf)
        gate = runs.airflow.xcom(DAG_ID, self.run_id, "gate")
        self.decision = runs.json(gate["decision"])
        self.report = runs.json(gate["report"])
        self.card = gate["card"]
        self.serving = serving(runs)

    @property
    def reasons(self) -> set[tuple[str, str]]:
        """Codes and metrics of the reasons over all rows."""
        return {
            (reason["code"], reason["metric"])
            for reason in self.decision["reasons"]
            if reason["slice"] is None
        }


def serving(runs: Runs) -> dict[str, int]:
    """Return the endpoint's traffic by model version."""
    (endpoint,) = runs.endpoints()
    versions = {deployed.id: deployed.model_version_id for deployed in endpoint.deployed_models}
    return {versions[deployed]: share for deployed, share in endpoint.traffic_split.items()}


@contextmanager
def shuffled_fares(stack: LocalStack) -> Iterator[None]:
    """Put the training months' fares among the wrong trips, for a while."""
    client = stack.bigquery_client()
    client.query_and_wait(f"CREATE TABLE {SOUND} AS SELECT * FROM {TRIPS}")
    client.query_and_wait(SHUFFLED)
    try:
        yield
    finally:
        client.query_and_wait(f"CREATE OR REPLACE TABLE {TRIPS} AS SELECT * FROM {SOUND}")
        client.query_and_wait(f"DROP TABLE {SOUND}")


@pytest.fixture(scope="module")
def before(runs: Runs, first_month: tuple[str, dict[str, str | None]]) -> dict[str, int]:  # noqa: ARG001  # it serves
    """The model that serves before any of these runs."""
    return serving(runs)


@pytest.fixture(scope="module")
def corrupted(runs: Runs, airflow_stack: LocalStack, before: dict[str, int]) -> tuple[Outcome, Outcome]:  # noqa: ARG001
    """Two runs over corrupted labels: one that the gate judges, and one in which a person overrides it."""
    with shuffled_fares(airflow_stack):
        judged = Outcome(runs, CORRUPTED)
        codes = sorted({reason["code"] for reason in judged.decision["reasons"]})
        override = {"override_codes": codes, "override_reason": "a test needs a bad champion"}
        return judged, Outcome(runs, {**CORRUPTED, **override})


@pytest.fixture(scope="module")
def better(runs: Runs, corrupted: tuple[Outcome, Outcome]) -> Outcome:  # noqa: ARG001  # the champion is the bad one
    """The run of the same month over sound labels, while the model of the corrupted ones serves."""
    return Outcome(runs, {**MONTH, **SMALL})


def test_model_of_corrupted_labels_is_rejected_for_its_errors(corrupted: tuple[Outcome, Outcome]) -> None:
    """It is certainly worse than the champion in both metrics, and no reason blames the trips."""
    judged, _ = corrupted

    assert judged.decision["verdict"] == "reject"
    assert judged.reasons >= {
        ("above_margin", "clipped_rmse: high end of the difference from the champion"),
        ("above_margin", "mae: high end of the difference from the champion"),
        ("above_ceiling", "mae"),
    }
    assert ABOUT_THE_DATA.isdisjoint(code for code, _ in judged.reasons)


def test_champion_goes_on_serving_after_a_rejection(
    corrupted: tuple[Outcome, Outcome], before: dict[str, int]
) -> None:
    """A rejected run succeeds, and the endpoint serves what it served."""
    judged, _ = corrupted

    assert (judged.states["reject"], judged.states["promote.register"]) == ("success", "skipped")
    assert judged.serving == before


def test_rejected_run_has_a_model_card(runs: Runs, corrupted: tuple[Outcome, Outcome]) -> None:
    """The card of a run that was not promoted says so."""
    judged, _ = corrupted

    assert 'class="verdict reject"' in runs.text(judged.card)


def test_override_promotes_and_stands_in_the_decision(
    corrupted: tuple[Outcome, Outcome], before: dict[str, int]
) -> None:
    """An override lets the same model serve, with the same reasons and the person's on record."""
    judged, overridden = corrupted

    assert overridden.decision["verdict"] == "promote"
    assert overridden.decision["override"]["reason"] == "a test needs a bad champion"
    assert overridden.reasons == judged.reasons
    assert overridden.serving.keys() != before.keys()


def test_clearly_better_challenger_is_promoted(better: Outcome, corrupted: tuple[Outcome, Outcome]) -> None:
    """It is certainly better than the champion in both metrics, nothing is against it, and it serves."""
    _, overridden = corrupted
    highs = [better.report["difference"][metric]["high"] for metric in ("clipped_rmse", "mae")]

    assert (better.decision["verdict"], better.decision["reasons"]) == ("promote", [])
    assert max(highs) < 0
    assert list(better.serving.values()) == [100]
    assert better.serving.keys() != overridden.serving.keys()


def test_a_month_before_the_champions_ends_before_anything_is_spent(runs: Runs, better: Outcome) -> None:
    """A run whose test month the champion was trained on does not wait, and the champion keeps serving."""
    run_id, states = runs.run({"window_end": "2015-02-01", **SMALL})

    assert (states["preflight"], states["wait_for_trips"]) == ("failed", "upstream_failed")
    assert "champion_newer" in runs.log(run_id, "preflight")
    assert serving(runs) == better.serving
