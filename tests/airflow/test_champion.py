"""Runs that cannot be compared with the champion at all, or not fairly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow.champions import champion_of
from tests.airflow.promotion import NO_ANCHOR, deploy_foreign, serving
from vertex_airflow.baseline import Baseline
from vertex_airflow.objects import ObjectStore

if TYPE_CHECKING:
    from tests.airflow.promotion import Begin, Promotion
    from tests.airflow.servers import Vertex

EARLIER, OWN, LATER = "2015-03_train24_test1", "2015-07_train24_test1", "2015-09_train24_test1"
GONE = r"SavedModel of .*/models/\S+@1 is missing; .* has most of the traffic on endpoint 'chicago-taxi-fare'"


def overriding(*codes: str) -> dict[str, Any]:
    """Return the fields of a form that overrides reasons."""
    return {"form": {"override_codes": list(codes), "override_reason": "a test"}}


def lose_files(champion: Promotion) -> None:
    """Delete the files that a promoted model was registered with, as a bucket's lifecycle rule may."""
    ObjectStore(gcp_conn_id="google_cloud_default").delete(f"{champion.artifact}/saved_model.pb")


def recorded(run: Promotion) -> Baseline:
    """Return what a run has recorded."""
    return Baseline.recorded(ObjectStore(gcp_conn_id="google_cloud_default"), run.baseline_uri)


@pytest.mark.parametrize("artifact", ["", "gs://taxi-local/some/other/format"])
def test_a_foreign_champion_is_named(vertex: Vertex, begin: Begin, artifact: str) -> None:
    """A busiest model without a SavedModel stops the run before anything is spent."""
    deploy_foreign(vertex, artifact, {"0": 100})

    with pytest.raises(AirflowFailException, match=GONE):
        begin("run-1")


def test_a_champion_whose_files_are_gone_is_named(begin: Begin) -> None:
    """The error says which model, which folder, and every way out."""
    first = begin("run-1").promote()
    lose_files(first)

    with pytest.raises(AirflowFailException, match=GONE) as refused:
        begin("run-2")

    ways = (
        *(first.artifact, "Restore the folder", "give the traffic"),
        *("an endpoint of this DAG alone, and start a new run", "override champion_missing"),
    )
    assert all(way in str(refused.value) for way in ways)


def test_a_refused_run_records_nothing(begin: Begin) -> None:
    """Once the files are back, the cleared task looks at the endpoint again."""
    first = begin("run-1").promote()
    lose_files(first)
    with pytest.raises(AirflowFailException, match=GONE):
        begin("run-2")

    ObjectStore(gcp_conn_id="google_cloud_default").write(f"{first.artifact}/saved_model.pb", b"")

    assert begin("run-2").champion["uri"] == first.artifact


def test_an_override_replaces_exactly_that_champion(vertex: Vertex, begin: Begin) -> None:
    """The run compares with nothing, knows which version it replaces, and gets the traffic."""
    first = begin("run-1").promote()
    lose_files(first)

    second = begin("run-2", **overriding("champion_missing"))

    assert second.champion == {"name": first.model, "uri": "", **NO_ANCHOR}
    second.promote()
    assert serving(vertex) == {"2": 100}


def test_an_overriding_run_does_not_replace_another_model(vertex: Vertex, begin: Begin) -> None:
    """The override is about the model that served when the run began."""
    lose_files(begin("run-1").promote())
    second = begin("run-2", **overriding("champion_missing"))
    begin("run-3", **overriding("champion_missing")).promote()

    with pytest.raises(AirflowFailException, match="start a new run"):
        second.prepare()

    assert serving(vertex) == {"2": 100}


def test_files_that_go_while_a_run_waits_are_missed(begin: Begin) -> None:
    """A task that is cleared looks at the files of the recorded champion again."""
    first = begin("run-1").promote()
    second = begin("run-2")
    lose_files(first)

    with pytest.raises(AirflowFailException, match=GONE):
        second.begin()


def test_a_newer_champion_stops_a_run(begin: Begin) -> None:
    """A run of an older month ends, with both windows and the ways out."""
    begin("run-1").promote()

    with pytest.raises(
        AirflowFailException, match=f"is {OWN}; required: not later than {EARLIER}"
    ) as refused:
        begin("run-2", window=EARLIER)

    ways = ("Promote off", "give another window_end", "override champion_newer")
    assert all(way in str(refused.value) for way in ways)


@pytest.mark.parametrize(
    ("window", "way"),
    [
        ("2015-07_train24_test3", "give 1 as test_months (the months since 2015-06-01), another window_end"),
        ("2015-08_train24_test3", "give 2 as test_months"),
        ("2015-06_train24_test1", "give another window_end"),
    ],
)
def test_a_run_is_not_tested_on_what_the_champion_learned_from(begin: Begin, window: str, way: str) -> None:
    """The error names the days, and how many test months are left."""
    begin("run-1").promote()

    with pytest.raises(AirflowFailException, match="is from 2013-06-01 until 2015-06-01") as refused:
        begin("run-2", window=window)

    assert way in str(refused.value)


def test_a_version_says_what_it_was_trained_on(begin: Begin) -> None:
    """A model that was trained again on its test months is not compared on them."""
    refit = begin("run-1", trained=("2013-06-01", "2015-07-01")).promote()

    with pytest.raises(AirflowFailException, match="until 2015-07-01; required: none of the test months"):
        begin("run-2")
    assert begin("run-3", window="2015-08_train24_test1").champion["name"] == refit.model


def test_a_refit_is_met_by_the_model_that_was_judged(begin: Begin) -> None:
    """No test month is lost: what serves has learned from June, and its judged model has not."""
    refit = begin("run-1", trained=("2013-06-01", "2015-07-01"), judged_until="2015-06-01").promote()

    for run, window in (("run-2", OWN), ("run-3", "2015-08_train24_test2")):
        found = begin(run, window=window).champion

        assert (found["name"], found["uri"]) == (refit.model, f"{refit.artifact}/judged")


def test_a_mean_is_made_of_judged_models(begin: Begin) -> None:
    """A refit that has learned from this run's test months would make its mean easy to judge."""
    refit = begin("run-1", trained=("2013-06-01", "2015-07-01"), judged_until="2015-06-01").promote()

    run = begin("run-2", window="2015-08_train24_test2", serve="mean_of_3")

    assert run.champion["members"] == f"{refit.artifact}/judged"


@pytest.mark.parametrize("choice", [{"evaluate_only": True}, overriding("champion_newer")])
def test_a_newer_champion_is_compared_with_all_the_same(begin: Begin, choice: dict[str, Any]) -> None:
    """A run that promotes nothing continues, and so does one whose form overrides the reason."""
    first = begin("run-1").promote()

    second = begin("run-2", window=EARLIER, **choice)

    assert second.champion == {"name": first.model, "uri": first.artifact, **NO_ANCHOR}
    assert champion_of(recorded(second)).window == OWN


def test_evaluating_does_not_excuse_lost_files(begin: Begin) -> None:
    """A run that only evaluates stops as well: it would train a model and compare it with nothing."""
    lose_files(begin("run-1").promote())

    with pytest.raises(AirflowFailException, match=GONE):
        begin("run-2", evaluate_only=True)


def test_a_run_that_compares_with_nothing_meets_no_champion(begin: Begin) -> None:
    """Whatever serves, newer or without its files, the months of a replay train and report alone."""
    lose_files(begin("run-1").promote())

    found = begin("run-2", window=EARLIER, compares=False).champion

    assert found == {"name": "", "uri": "", **NO_ANCHOR}


@pytest.mark.parametrize("window", [OWN, LATER])
def test_the_same_and_later_windows_meet_the_champion(begin: Begin, window: str) -> None:
    """The same month can be run again, and later months follow."""
    first = begin("run-1").promote()

    assert begin("run-2", window=window).champion["name"] == first.model


def test_a_champion_without_a_window_is_warned_of(
    vertex: Vertex, begin: Begin, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A foreign model's training window is unknown, which is reported and does not stop the run."""
    ObjectStore(gcp_conn_id="google_cloud_default").write(f"{bucket}/foreign/saved_model.pb", b"")
    deploy_foreign(vertex, f"{bucket}/foreign", {"0": 100})

    begin("run-1", window=EARLIER)

    assert "it has no label `trained_until` or `window`" in capsys.readouterr().out
