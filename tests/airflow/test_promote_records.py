"""What a promotion leaves for people: when a version got the traffic, and instead of which one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taxi_ml.record.rollout import State, parse_rollout

if TYPE_CHECKING:
    from tests.airflow.promotion import Begin
    from vertex_airflow.objects import ObjectStore


def test_a_shift_is_recorded_once(begin: Begin, store: ObjectStore) -> None:
    """The page reads who got all of the traffic, and when; another try does not change the time."""
    first = begin("run-1").promote()
    second = begin("run-2").prepare()
    second.shift()
    written = store.read(second.rollout_uri)
    second.shift()
    rollout = parse_rollout(store.read(second.rollout_uri))

    assert store.read(second.rollout_uri) == written
    assert (rollout.state, rollout.percent) == (State.DONE, 100)
    assert (rollout.model, rollout.champion) == (second.model, first.model)
    assert rollout.served_from is not None


def test_a_first_model_has_replaced_nothing(begin: Begin, store: ObjectStore) -> None:
    """The first version of an endpoint has no champion in its record."""
    first = begin("run-1").promote()

    assert parse_rollout(store.read(first.rollout_uri)).champion is None
