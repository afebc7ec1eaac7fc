from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from tests.airflow.promotion import FAST, LAGGING, NAME, NO_ANCHOR, deploy_foreign, live, serving
from tests.airflow.tasks import context, run_task
from vertex_airflow import endpoints
from vertex_airflow.objects import ObjectStore
from vertex_airflow.operators.roll_back import RollBackOperator

if TYPE_CHECKING:
    from local_vertex.domain.past import Lags
    from tests.airflow.promotion import Begin
    from tests.airflow.servers import Vertex


@pytest.fixture(params=LAGGING)
def lags(request: pytest.FixtureRequest) -> Lags:
    """Promote on a service that is current, and on one whose lists and traffic lag behind."""
    chosen: Lags = LAGGING[request.param]
    return chosen


def give(vertex: Vertex, **split: int) -> None:
    """Set the traffic by version, as a person does: `v1=90`."""
    endpoint = live(vertex)
    ids = {f"v{name.version}": each for each, name in endpoint.deployed.items()}
    endpoints.set_traffic(vertex.hook, endpoint, {ids[each]: share for each, share in split.items()})


def test_a_failed_promotion_leaves_what_served(vertex: Vertex, begin: Begin) -> None:
    """After a failed smoke test the old model has all traffic, and the new one is gone."""
    first = begin("run-1").promote()
    second = begin("run-2").prepare()
    vertex.servers.fare = -1.0
    with pytest.raises(AirflowFailException):
        second.smoke()

    ended = second.roll_back()

    assert (serving(vertex), list(live(vertex).deployed)) == ({"1": 100}, [first.deployed])
    assert ended.startswith(f"{second.model} is not promoted; ")


def test_a_share_that_was_left_goes_back(vertex: Vertex, begin: Begin) -> None:
    """A smoke test that was lost with its worker left a share, which the teardown takes away."""
    begin("run-1").promote()
    second = begin("run-2").prepare()
    give(vertex, v1=90, v2=10)

    second.roll_back()

    assert (serving(vertex), len(live(vertex).deployed)) == ({"1": 100}, 1)


def test_a_first_promotion_leaves_nothing(vertex: Vertex, begin: Begin) -> None:
    """If nothing served before, nothing serves after a roll-back."""
    first = begin("run-1").prepare()
    give(vertex, v1=100)

    first.roll_back()

    assert (live(vertex).split, live(vertex).deployed) == ({}, {})


def test_a_promotion_that_has_ended_stays(vertex: Vertex, begin: Begin) -> None:
    """The teardown after a success skips, and changes nothing."""
    first = begin("run-1").promote()

    ended = first.roll_back()

    assert (serving(vertex), ended) == (
        {"1": 100},
        f"{first.model} is promoted: there is nothing to roll back",
    )


@pytest.mark.parametrize("fare", [12.5, -1.0])
def test_clearing_an_ended_promotion_leaves_it_serving(vertex: Vertex, begin: Begin, fare: float) -> None:
    """However the second try ends, the model that had all of the traffic before it keeps it."""
    begin("run-1").promote()
    second = begin("run-2").promote()
    vertex.servers.fare = fare

    second.prepare()
    if fare < 0:
        with pytest.raises(AirflowFailException):
            second.smoke()
    else:
        second.smoke()
        second.shift()
        second.undeploy_others()
    second.roll_back()

    assert (serving(vertex), len(live(vertex).deployed)) == ({"2": 100}, 1)
    assert second.aliases == {"champion", "challenger", "default"}


def test_clearing_the_first_promotion_leaves_it_serving(vertex: Vertex, begin: Begin) -> None:
    """A kill of the smoke test of a promoted model takes nothing away from it."""
    first = begin("run-1").promote()

    first.smoke_task().on_kill()
    first.begin().promote()

    assert serving(vertex) == {"1": 100}


def test_what_served_is_recorded_once(begin: Begin) -> None:
    """A run that was cleared from its start compares with what served when it began."""
    first = begin("run-1").promote()
    second = begin("run-2").promote()
    begin("run-3").promote()

    again = second.begin().champion

    assert again == {"name": first.model, "uri": first.artifact, **NO_ANCHOR}


def test_a_persons_change_of_traffic_is_kept(vertex: Vertex, begin: Begin) -> None:
    """A roll-back gives back the share of its own model, in proportion to what is there now."""
    begin("run-1").promote()
    foreign = deploy_foreign(vertex)
    second = begin("run-2").prepare()
    old = str(next(iter(live(vertex).split)))
    endpoints.set_traffic(vertex.hook, live(vertex), {old: 30, foreign: 60, str(second.deployed): 10})

    second.roll_back()

    assert live(vertex).split == {old: 33, foreign: 67}


def test_a_split_comes_back_exactly(vertex: Vertex, begin: Begin) -> None:
    """Three shares that a tenth was taken from are what they were, not one percent beside it."""
    begin("run-1").promote()
    own = next(iter(live(vertex).split))
    other = deploy_foreign(vertex, split={own: 51, "0": 49})
    third = deploy_foreign(vertex, split={own: 34, other: 33, "0": 33})
    second = begin("run-2").prepare()

    second.smoke()

    assert live(vertex).split == {own: 34, other: 33, third: 33}


def test_a_run_that_was_overtaken_deploys_nothing(vertex: Vertex, begin: Begin) -> None:
    """A model that was compared with version 1 does not replace version 2."""
    begin("run-1").promote()
    late = begin("run-3").register()
    begin("run-2").promote()

    with pytest.raises(AirflowFailException, match=r"was compared with .*@1, but .*@3 has 100 %"):
        late.deploy()

    assert (serving(vertex), len(live(vertex).deployed)) == ({"3": 100}, 1)


@pytest.mark.parametrize("step", ["smoke", "shift"])
def test_a_run_that_is_overtaken_moves_no_traffic(vertex: Vertex, begin: Begin, step: str) -> None:
    """The same where the other model came between the deployment and the shift."""
    begin("run-1").promote()
    late = begin("run-2").prepare()
    begin("run-3").promote()

    with pytest.raises(AirflowFailException, match="start a new run"):
        getattr(late, step)()

    assert serving(vertex) == {"3": 100}


def test_a_run_that_found_nothing_replaces_nothing(vertex: Vertex, begin: Begin) -> None:
    """A model that met no champion does not replace one that serves by now."""
    late = begin("run-2").register()
    begin("run-1").promote()

    with pytest.raises(AirflowFailException, match=r"found nothing that served, but .*@2 has 100 %"):
        late.deploy()

    assert serving(vertex) == {"2": 100}


def test_a_champion_that_was_taken_out_of_service_is_missed(vertex: Vertex, begin: Begin) -> None:
    """An endpoint that a person emptied stays empty."""
    begin("run-1").promote()
    late = begin("run-2").register()
    endpoints.set_traffic(vertex.hook, live(vertex), {})

    with pytest.raises(AirflowFailException, match="@1 has no traffic any more"):
        late.deploy()


def test_another_runs_model_is_not_undeployed(vertex: Vertex, begin: Begin) -> None:
    """A model that another run has deployed but not yet tested stays, whichever run was first."""
    begin("run-1").promote()
    other = begin("run-2").prepare()

    begin("run-3").promote()

    assert (serving(vertex), other.deployed in live(vertex).deployed) == ({"3": 100}, True)


def test_a_failed_shift_is_undone(vertex: Vertex, begin: Begin) -> None:
    """Traffic that has moved without its aliases goes back, and the aliases stay where they were."""
    first = begin("run-1").promote()
    second = begin("run-2").prepare()
    vertex.order("MergeVersionAliases", "fail=PERMISSION_DENIED")
    with pytest.raises(AirflowFailException):
        second.shift()

    second.roll_back()

    assert (serving(vertex), len(live(vertex).deployed)) == ({"1": 100}, 1)
    assert (first.aliases, second.aliases) == ({"champion", "default"}, set())


def test_aliases_follow_the_traffic_back(vertex: Vertex, begin: Begin) -> None:
    """A version that loses the traffic loses champion and default to the version that serves."""
    first = begin("run-1").promote()
    second = begin("run-2").prepare()
    second.shift()
    give(vertex, v1=90, v2=10)

    second.roll_back()

    assert (serving(vertex), first.aliases, second.aliases) == ({"1": 100}, {"champion", "default"}, set())


def test_a_failed_deployment_is_no_challenger(begin: Begin) -> None:
    """A version that could not be deployed loses its alias."""
    begin("run-1").promote()
    second = begin("run-2", kind="broken").register()

    second.roll_back()

    assert second.aliases == set()


def test_another_try_finds_the_work_done(vertex: Vertex, begin: Begin) -> None:
    """A teardown that runs twice says the same, and changes nothing more."""
    begin("run-1").promote()
    second = begin("run-2").prepare()

    first_end, second_end = second.roll_back(), second.roll_back()

    assert (serving(vertex), first_end) == ({"1": 100}, second_end)


@pytest.mark.parametrize("method", ["UpdateEndpoint", "UndeployModel", "MergeVersionAliases"])
@pytest.mark.parametrize("fault", ["fail=UNAVAILABLE", "lose-reply"])
def test_a_fault_on_the_wire_stops_no_roll_back(
    vertex: Vertex, begin: Begin, method: str, fault: str
) -> None:
    """Each call of a roll-back may fail once."""
    begin("run-1").promote()
    second = begin("run-2").prepare()
    give(vertex, v1=90, v2=10)
    vertex.order(method, fault)

    second.roll_back()

    assert (serving(vertex), len(live(vertex).deployed), second.aliases) == ({"1": 100}, 1, set())


def test_a_lost_record_stops_no_roll_back(vertex: Vertex, begin: Begin) -> None:
    """If the record of what served before is lost, the live split says where the share goes."""
    begin("run-1").promote()
    second = begin("run-2").prepare()
    give(vertex, v1=90, v2=10)
    ObjectStore(gcp_conn_id="google_cloud_default").delete(second.baseline_uri)

    second.roll_back()

    assert (serving(vertex), len(live(vertex).deployed)) == ({"1": 100}, 1)


def test_a_lost_record_stops_a_promotion(begin: Begin) -> None:
    """Nothing is replaced if the record of what served before is lost."""
    second = begin("run-2").register()
    ObjectStore(gcp_conn_id="google_cloud_default").delete(second.baseline_uri)

    with pytest.raises(AirflowFailException, match="start a new run"):
        second.deploy()


@pytest.mark.parametrize(
    ("declined", "states", "ending", "words"),
    [
        ("True", {"promote.register": "skipped"}, AirflowSkipException, "decided not to promote"),
        ("False", {"check_rows": "failed", "gate": "upstream_failed"}, AirflowSkipException, "no model"),
        ("False", {"check_rows": "failed", "gate": "skipped"}, AirflowFailException, "was ended before"),
    ],
)
def test_a_run_without_a_model_has_nothing_to_undo(
    vertex: Vertex,  # noqa: ARG001  # the server
    declined: str,
    states: dict[str, str],
    ending: type[Exception],
    words: str,
) -> None:
    """It skips, but fails where a person has ended the run: Airflow would call that a success."""
    task = RollBackOperator(
        task_id="roll_back", endpoint_name=NAME, model="", baseline_uri="", declined=declined, **FAST
    )
    ctx: Any = context()
    ctx["ti"].states = states

    with pytest.raises(ending, match=words):
        run_task(task, ctx)
