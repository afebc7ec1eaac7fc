"""The earlier champion that a run is compared with beside the one that serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.airflow.promotion import OVERRIDE, deploy_foreign
from vertex_airflow import model_registry
from vertex_airflow.baseline import Baseline
from vertex_airflow.names import ModelName
from vertex_airflow.objects import ObjectStore

if TYPE_CHECKING:
    from tests.airflow.promotion import Begin, Promotion
    from tests.airflow.servers import Vertex

MARCH, APRIL, MAY, JUNE = (f"2015-0{month}_train24_test1" for month in (3, 4, 5, 6))
NEXT_YEAR = "2016-05_train24_test1"


@pytest.fixture
def files() -> ObjectStore:
    """Return the objects of the local Cloud Storage."""
    return ObjectStore(gcp_conn_id="google_cloud_default")


def anchor(run: Promotion) -> tuple[str, str]:
    """Return the name and the folder that a run's first look has found."""
    return run.champion["anchor_name"], run.champion["anchor_uri"]


def test_first_runs_have_none(begin: Begin) -> None:
    """Neither the first run has an anchor nor the second, whose only candidate is the champion."""
    first = begin("run-1", window=MARCH, skill="0900").promote()
    second = begin("run-2", window=APRIL)

    assert (anchor(first), anchor(second)) == (("", ""), ("", ""))


def test_the_best_earlier_champion_is_the_anchor(begin: Begin) -> None:
    """Of the versions that have served, the one of the lowest skill is compared with, the champion aside."""
    best = begin("run-1", window=MARCH, skill="0900").promote()
    begin("run-2", window=APRIL, skill="0950").promote()
    serving = begin("run-3", window=MAY, skill="0880").promote()
    run = begin("run-4", window=JUNE)

    assert run.champion["name"] == serving.model
    assert anchor(run) == (best.model, best.artifact)


def test_a_version_that_never_served_is_no_anchor(begin: Begin) -> None:
    """A version that was registered and deployed, or rolled back after its traffic, is passed over."""
    old = begin("run-1", window=MARCH, skill="0990").promote()
    begin("run-2", window=APRIL, skill="0950").promote()
    failed = begin("run-3", window=APRIL, skill="0500").prepare()
    failed.roll_back()

    assert anchor(begin("run-4", window=MAY)) == (old.model, old.artifact)


def test_a_rolled_back_champion_never_served(vertex: Vertex, begin: Begin) -> None:
    """A promotion that is undone takes the alias of those that have served away."""
    begin("run-1", window=MARCH, skill="0990").promote()
    second = begin("run-2", window=APRIL, skill="0500").prepare()
    second.shift()
    name = ModelName.parse(second.model)
    served = model_registry.served_alias(name)
    before = model_registry.aliases_of(vertex.hook, name)
    deploy_foreign(vertex, split={"0": 100})
    second.roll_back()

    assert served in before
    assert served not in model_registry.aliases_of(vertex.hook, name)


def test_lost_files_are_passed_over(begin: Begin, files: ObjectStore) -> None:
    """The next best is the anchor if the bucket no longer has the best one's SavedModel."""
    second_best = begin("run-1", window=MARCH, skill="0950").promote()
    best = begin("run-2", window=MARCH, skill="0900").promote()
    begin("run-3", window=APRIL, skill="0970").promote()
    files.delete(f"{best.artifact}/saved_model.pb")

    assert anchor(begin("run-4", window=MAY)) == (second_best.model, second_best.artifact)


def test_an_old_champion_is_no_anchor(begin: Begin) -> None:
    """A model of a window that ended more than twelve months ago has been left behind."""
    begin("run-1", window=MARCH, skill="0900").promote()
    begin("run-2", window=APRIL, skill="0950").promote()

    assert anchor(begin("run-3", window=NEXT_YEAR)) == ("", "")


def test_a_version_without_a_skill_is_no_anchor(begin: Begin) -> None:
    """Versions of earlier releases are compared with while they serve, and not afterwards."""
    begin("run-1", window=MARCH).promote()
    begin("run-2", window=APRIL, skill="0950").promote()

    assert anchor(begin("run-3", window=MAY)) == ("", "")


def test_a_cleared_task_keeps_the_anchor(begin: Begin, files: ObjectStore) -> None:
    """Another try compares with what the first one recorded, if its files are still there."""
    best = begin("run-1", window=MARCH, skill="0900").promote()
    begin("run-2", window=APRIL, skill="0950").promote()
    run = begin("run-3", window=MAY)
    begin("run-4", window=APRIL, skill="0800", form=OVERRIDE).promote()

    assert anchor(run.begin()) == (best.model, best.artifact)

    files.delete(f"{best.artifact}/saved_model.pb")
    recorded = Baseline.recorded(files, run.baseline_uri)

    assert anchor(run.begin()) == ("", "")
    assert recorded.anchor is not None
    assert str(recorded.anchor.name) == best.model


def test_a_record_without_an_anchor_is_read() -> None:
    """A run that began under the release before this one goes on."""
    assert Baseline.from_json(b'{"champion": null, "deployed": {}, "split": {}}') == Baseline.of(None, None)
