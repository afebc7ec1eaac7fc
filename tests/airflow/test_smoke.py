"""Golden requests for the smoke test, read from what the gate has kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow.smoke import read_golden
from tests.taxi_ml.reports import GOLDEN
from vertex_airflow.golden import GoldenRow, read_json_lines

if TYPE_CHECKING:
    from vertex_airflow.objects import ObjectStore

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("cloud")]


def test_trips_become_golden_rows(store: ObjectStore, bucket: str) -> None:
    """A fare is the prediction that is expected; absent numbers and reasons are kept."""
    store.write(f"{bucket}/golden.json", GOLDEN.to_json().encode())

    rows = read_golden(store, f"{bucket}/golden.json")

    assert [(row.instance, row.expected, row.why) for row in rows] == [
        (trip.instance, trip.fare, trip.why) for trip in GOLDEN.trips
    ]


def test_a_gate_that_kept_none_is_run_again(store: ObjectStore, bucket: str) -> None:
    """The error names the address, and says what to do."""
    with pytest.raises(AirflowFailException, match=r"/golden.json does not exist; .* start a new run"):
        read_golden(store, f"{bucket}/golden.json")


def test_a_document_without_trips_is_refused(store: ObjectStore, bucket: str) -> None:
    """Nothing to ask proves nothing."""
    store.write(f"{bucket}/golden.json", replace(GOLDEN, trips=()).to_json().encode())

    with pytest.raises(AirflowFailException, match=r"golden.rows is empty"):
        read_golden(store, f"{bucket}/golden.json")


def test_rows_are_json_lines_by_default(store: ObjectStore, bucket: str) -> None:
    """A DAG without a reader of its own names a file of instances and predictions."""
    lines = "".join(
        f'{{"instance": {{"TripStartHour": {hour}}}, "prediction": {hour}.5}}\n' for hour in range(2)
    )
    store.write(f"{bucket}/golden.jsonl", lines.encode())

    rows = read_json_lines(store, f"{bucket}/golden.jsonl")

    assert rows == [GoldenRow(instance={"TripStartHour": hour}, expected=hour + 0.5) for hour in range(2)]


@pytest.mark.parametrize("line", ["[1]", "{", '{"instance": {}}', '{"instance": {}, "prediction": null}'])
def test_another_line_is_refused_by_its_number(store: ObjectStore, bucket: str, line: str) -> None:
    """The error has the line's number and the shape that it should have."""
    store.write(f"{bucket}/golden.jsonl", f'{{"instance": {{}}, "prediction": 1}}\n{line}'.encode())

    with pytest.raises(ValueError, match=r'line 2 is not \{"instance": \{…\}, "prediction": …\}'):
        read_json_lines(store, f"{bucket}/golden.jsonl")
