"""Golden requests to the deployed models of a local Vertex AI."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.airflow.promotion import live
from vertex_airflow import endpoints, golden
from vertex_airflow.golden import GoldenCheck, GoldenRow, NoAnswerError

if TYPE_CHECKING:
    from tests.airflow.promotion import Begin
    from tests.airflow.servers import Vertex
    from vertex_airflow.golden import GoldenResult

ROWS = [
    GoldenRow(instance={"TripStartHour": hour}, expected=12.5, why=(f"TripStartHour {hour}",))
    for hour in (6, 7, 8)
]


def ask(vertex: Vertex, deployed: str | None, **options: Any) -> GoldenResult:  # noqa: ANN401  # of the check
    """Ask a deployed model with pauses for a test."""
    fast = {"rows": ROWS, "bound": 10.0, "shortest_pause": 0.01, **options}
    return GoldenCheck(**fast).ask(vertex.hook, live(vertex).name, str(deployed))


def test_the_same_predictions_pass(vertex: Vertex, begin: Begin) -> None:
    """Every row is answered as expected, and as often as wanted, but for the request that connects."""
    first = begin("run-1").promote()

    result = ask(vertex, first.deployed, answers=5)

    assert (result.problem, result.rows, result.differing, result.largest_difference) == ("", 3, 0, 0.0)
    assert {each: len(seconds) for each, seconds in result.latencies.items()} == {first.deployed: 4}


def test_other_predictions_name_the_row(vertex: Vertex, begin: Begin) -> None:
    """The message has the row with the largest difference, why it was chosen, and both predictions."""
    first = begin("run-1").promote()
    rows = [*ROWS, GoldenRow(instance={"TripStartHour": 9}, expected=10.0, why=("largest distance",))]

    result = ask(vertex, first.deployed, rows=rows)

    assert (result.differing, result.worst_row, result.largest_difference) == (1, 3, 0.25)
    assert "1 of 4 golden requests" in result.problem
    assert 'row 3 (largest distance): expected 10, got 12.5 for {"TripStartHour": 9}' in result.problem


def test_both_models_get_the_same_requests(vertex: Vertex, begin: Begin) -> None:
    """The champion's latency is that of the same requests, while the challenger has a share."""
    first = begin("run-1").promote()
    second = begin("run-2").prepare()
    split = {str(first.deployed): 50, str(second.deployed): 50}
    endpoints.set_traffic(vertex.hook, live(vertex), split)

    written = json.loads(ask(vertex, second.deployed).to_json(champion=first.deployed))

    assert (written["deployed_model"], written["rows"], written["problem"]) == (second.deployed, 3, "")
    for latency in written["latency"].values():
        assert latency["requests"]
        assert 0 < latency["p50"] <= latency["p95"]


def test_a_model_without_traffic_is_not_reached(vertex: Vertex, begin: Begin) -> None:
    """What another model answers says nothing about this one."""
    begin("run-1").promote()
    second = begin("run-2").prepare()

    with pytest.raises(NoAnswerError, match=rf"model {second.deployed} answered 0 of \d+ requests"):
        ask(vertex, second.deployed, bound=0.2)


def test_many_rows_are_sent_in_several_requests(
    vertex: Vertex, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests stay below the size limit, and the worst row has its own index."""
    monkeypatch.setattr(golden, "MOST_BYTES", 50)
    first = begin("run-1").promote()
    rows = [*ROWS, GoldenRow(instance={"TripStartHour": 9}, expected=12.0)]

    result = ask(vertex, first.deployed, rows=rows, answers=2)

    assert (result.rows, result.differing, result.worst_row) == (4, 1, 3)
    # 4 rows in 2 requests; the first one connects.
    assert len(result.latencies[str(first.deployed)]) == 1


@pytest.mark.parametrize("fare", [None, -12.5])
def test_what_is_not_the_prediction_differs(vertex: Vertex, begin: Begin, fare: float | None) -> None:
    """A prediction that is not a number differs without bound, and is null in the document."""
    first = begin("run-1").promote()
    vertex.servers.fare = fare

    result = ask(vertex, first.deployed)

    assert result.differing == 3
    assert json.loads(result.to_json(champion=None))["largest_difference"] == (2.0 if fare else None)


def test_a_check_without_rows_is_refused() -> None:
    """Nothing to ask proves nothing."""
    with pytest.raises(ValueError, match="no golden rows"):
        GoldenCheck(rows=[])


@given(expected=st.floats(-1e6, 1e6), relative=st.floats(-0.5, 0.5))
def test_a_difference_is_relative(expected: float, relative: float) -> None:
    """A difference is a share of the expected prediction, which counts as 0.01 at least."""
    row = GoldenRow(instance={}, expected=expected)
    scale = max(abs(expected), golden.SMALLEST)

    assert math.isclose(row.difference(expected + relative * scale), abs(relative), abs_tol=1e-6)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_percentiles_are_of_the_requests(seconds: list[float]) -> None:
    """Half of the requests take no longer than the median, and 95 % no longer than the percentile."""
    latency: Any = golden.latency(seconds)

    for name, share in (("p50", 0.5), ("p95", 0.95)):
        assert latency[name] in seconds
        assert sum(each <= latency[name] for each in seconds) >= share * len(seconds)
        assert sum(each < latency[name] for each in seconds) < share * len(seconds)
