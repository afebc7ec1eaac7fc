"""Real trips to ask a deployed model about, read from an exported split."""

from __future__ import annotations

import csv
from itertools import islice
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow.objects import ObjectStore
from taxi_ml.modules.features import INPUTS, MISSING, NULLABLE_FLOATS

if TYPE_CHECKING:
    from collections.abc import Sequence

TRIPS = 3


def read_instances(
    pattern: str, *, gcp_conn_id: str, chain: str | Sequence[str] | None
) -> list[dict[str, float | None]]:
    """Return the first trips of the first file that matches ``gs://…/trips_*.csv``.

    Raises:
        AirflowFailException: when there is none.

    """
    store = ObjectStore(gcp_conn_id=gcp_conn_id, impersonation_chain=chain)
    for uri in store.matching(pattern):
        if instances := to_instances(store.read(uri).decode()):
            return instances
    raise AirflowFailException(f"{pattern} holds no trips to ask the deployed model about")


def to_instances(text: str) -> list[dict[str, float | None]]:
    """Return the first rows of a split's CSV as prediction instances: inputs only, absent numbers null."""
    return [
        {name: _value(name, row[name]) for name in INPUTS}
        for row in islice(csv.DictReader(text.splitlines()), TRIPS)
    ]


def _value(name: str, text: str) -> float | None:
    if name not in NULLABLE_FLOATS:
        return int(text)
    number = float(text)
    return None if number == MISSING else number
