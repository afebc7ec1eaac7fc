"""The trips that the smoke test asks a deployed model for, with the fares that it must answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException

from taxi_ml.promotion.golden import Golden, GoldenError
from vertex_airflow.golden import GoldenRow

if TYPE_CHECKING:
    from vertex_airflow.objects import ObjectStore


def read_golden(store: ObjectStore, uri: str) -> list[GoldenRow]:
    """Return the rows of golden.json, which the gate keeps beside its decision.

    Raises:
        AirflowFailException: if there is none, as after a gate of an earlier version, or it cannot be read.

    """
    try:
        golden = Golden.parse(store.read(uri))
    except (FileNotFoundError, GoldenError) as error:
        raise AirflowFailException(
            f"{uri}: {error}; the gate that decided was of another version: start a new run"
        ) from error
    return [GoldenRow(instance=trip.instance, expected=trip.fare, why=trip.why) for trip in golden.trips]
