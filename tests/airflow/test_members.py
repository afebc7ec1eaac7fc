"""The earlier models that a run's own is averaged with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.airflow.promotion import OVERRIDE
from vertex_airflow.baseline import Baseline
from vertex_airflow.objects import ObjectStore

if TYPE_CHECKING:
    from tests.airflow.promotion import Begin

MARCH, APRIL, MAY, JUNE, JULY = (f"2015-0{month}_train24_test1" for month in (3, 4, 5, 6, 7))
MEAN = "mean_of_3"


@pytest.fixture
def files() -> ObjectStore:
    """Return the objects of the local Cloud Storage."""
    return ObjectStore(gcp_conn_id="google_cloud_default")


def test_the_last_two_models_that_served_are_the_members(begin: Begin) -> None:
    """The newest comes first; the champion is one of them, and a first run has none."""
    first = begin("run-1", window=MARCH, serve=MEAN)
    first.promote()
    second = begin("run-2", window=APRIL, serve=MEAN).promote()
    third = begin("run-3", window=MAY, serve=MEAN).promote()
    run = begin("run-4", window=JUNE, serve=MEAN)

    assert first.champion["members"] == ""
    assert second.champion["members"] == first.artifact
    assert run.champion["members"] == f"{third.artifact} {second.artifact}"


def test_the_newest_model_alone_serves_by_default(begin: Begin) -> None:
    """A run has no members if the setting is off, or if it is compared with nothing."""
    begin("run-1", window=MARCH).promote()

    assert begin("run-2", window=APRIL).champion["members"] == ""
    assert begin("run-3", window=APRIL, serve=MEAN, compares=False).champion["members"] == ""


def test_a_model_of_this_window_or_a_later_one_is_no_member(begin: Begin) -> None:
    """A second run of a window averages with the same models as the first one."""
    old = begin("run-1", window=MARCH).promote()
    begin("run-2", window=APRIL).promote()
    begin("run-3", window=JUNE).promote()

    run = begin("run-4", window=APRIL, serve=MEAN, form=OVERRIDE)

    assert run.champion["members"] == old.artifact


def test_a_model_that_learned_from_the_test_months_is_no_member(begin: Begin) -> None:
    """The run's test trips would be easy for it, and so for the mean."""
    old = begin("run-1", window=MARCH).promote()
    begin("run-2", window=APRIL, trained=("2013-04-01", "2015-06-01")).promote()

    run = begin("run-3", window=JUNE, serve=MEAN, form=OVERRIDE)

    assert run.champion["members"] == old.artifact


def test_a_version_that_never_served_is_no_member(begin: Begin) -> None:
    """A promotion that was rolled back leaves a version that is not averaged with."""
    old = begin("run-1", window=MARCH).promote()
    begin("run-2", window=APRIL).prepare().roll_back()

    assert begin("run-3", window=MAY, serve=MEAN).champion["members"] == old.artifact


def test_lost_files_are_passed_over(begin: Begin, files: ObjectStore) -> None:
    """An older model takes the place of one whose SavedModel the bucket has lost."""
    oldest = begin("run-1", window=MARCH).promote()
    lost = begin("run-2", window=APRIL).promote()
    third = begin("run-3", window=MAY).promote()
    files.delete(f"{lost.artifact}/saved_model.pb")

    run = begin("run-4", window=JUNE, serve=MEAN)

    assert run.champion["members"] == f"{third.artifact} {oldest.artifact}"


def test_a_cleared_task_keeps_the_members(begin: Begin, files: ObjectStore) -> None:
    """Another try averages with the models that the first one recorded, unless their files are gone."""
    old = begin("run-1", window=MARCH).promote()
    second = begin("run-2", window=APRIL).promote()
    run = begin("run-3", window=JUNE, serve=MEAN)
    begin("run-4", window=MAY).promote()

    assert run.begin().champion["members"] == f"{second.artifact} {old.artifact}"

    files.delete(f"{old.artifact}/saved_model.pb")

    assert run.begin().champion["members"] == second.artifact
    assert len(Baseline.recorded(files, run.baseline_uri).members) == 2


def test_a_record_without_members_is_read() -> None:
    """A run that began under the release before this one goes on."""
    document: dict[str, object] = {"anchor": None, "champion": None, "deployed": {}, "split": {}}

    assert Baseline.from_json(json.dumps(document).encode()).members == ()
