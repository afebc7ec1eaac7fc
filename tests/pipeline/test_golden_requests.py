"""Golden trips of a model that TFX trained, sent to servers that answer rightly and wrongly."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from local_vertex.composition import Options
from taxi_ml.modules.features import DISTANCE, HISTORY, INPUTS, MISSING, NULLABLE_FLOATS
from taxi_ml.promotion.golden import Golden
from tests.airflow.promotion import deploy_foreign, live
from tests.airflow.servers import PROJECT, REGION, Running, connect_to
from tests.pipeline.trips import ROWS
from tests.serving.servers import serving
from vertex_airflow.golden import GoldenCheck, GoldenRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.airflow.servers import Vertex
    from vertex_airflow.golden import GoldenResult

pytestmark = [pytest.mark.pipeline, pytest.mark.xdist_group("trained_pipeline")]


@pytest.fixture(scope="module")
def golden(facts: dict[str, Any]) -> Golden:
    """The trips that the pipeline chose."""
    return Golden.parse(facts["golden"])


@pytest.fixture
def vertex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vertex]:
    """A local Vertex AI with a deployed model, to which the default connection points."""
    servers = Running(Options(state=tmp_path, project=PROJECT, region=REGION))
    started = servers.start()
    connect_to(started.grpc_port, monkeypatch)
    deploy_foreign(started, split={"0": 100})
    yield started
    servers.stop()


def ask(vertex: Vertex, golden: Golden, model: str, **server: str) -> GoldenResult:
    """Ask a deployed model whose container is a real server."""
    rows = [GoldenRow(instance=trip.instance, expected=trip.fare, why=trip.why) for trip in golden.trips]
    endpoint = live(vertex)
    (deployed,) = endpoint.deployed
    with serving(model, **server) as url:
        vertex.servers.url = f"{url}/predict"
        return GoldenCheck(rows=rows, answers=3, bound=30.0).ask(vertex.hook, endpoint.name, deployed)


def as_sent(row: Mapping[str, str]) -> tuple[float | None, ...]:
    """Return the inputs of an exported row as they are sent: single precision, null for absent numbers."""
    numbers = {
        name: float(str(np.float32(row[name]))) if name in NULLABLE_FLOATS else int(row[name])
        for name in INPUTS
    }
    return tuple(None if number == MISSING else number for number in numbers.values())


def test_golden_trips_are_test_trips(facts: dict[str, Any], golden: Golden, root: Path) -> None:
    """Each is a row of the test split without its label, with the fare of the evaluated signature."""
    with (root / "data/test/trips_000000000000.csv").open() as file:
        expected = {as_sent(row): facts["predictions"][row["trip_id"]] for row in csv.DictReader(file)}
    found = {tuple(trip.instance[name] for name in INPUTS): trip.fare for trip in golden.trips}

    assert golden.model == facts["model"]
    assert len(golden.trips) == ROWS["test"]
    assert found == pytest.approx(expected, rel=1e-6)


def test_averages_that_the_server_looks_up_are_expected(vertex: Vertex, facts: dict[str, Any]) -> None:
    """A trip without averages whose pair has some gets the fare with those, as callers do."""
    looked_up = Golden.parse(facts["looked_up"])
    (trip,) = looked_up.trips

    result = ask(vertex, looked_up, facts["model"])

    assert [trip.instance[name] for name in HISTORY] == [None] * len(HISTORY)
    assert result.problem == ""
    assert trip.fare != pytest.approx(facts["not_looked_up"], rel=1e-3)


def test_the_model_as_it_was_evaluated_passes(vertex: Vertex, golden: Golden, facts: dict[str, Any]) -> None:
    """The product's server answers all golden trips as the pipeline's signature did."""
    result = ask(vertex, golden, facts["model"])

    assert (result.problem, result.rows, result.differing) == ("", len(golden.trips), 0)
    assert result.largest_difference < 1e-5


@pytest.mark.parametrize("corruption", ["weights", "preprocessing", "order", "unit"])
def test_a_corrupted_server_is_caught(
    vertex: Vertex, golden: Golden, facts: dict[str, Any], corruption: str
) -> None:
    """Weights off by 0.1 %, 0 for a missing number, the reverse order, km for meters: each is a problem."""
    result = ask(vertex, golden, facts["model"], module="tests.serving.corrupted", CORRUPTION=corruption)
    worst = golden.trips[result.worst_row]

    assert result.differing > 0
    assert f"{result.differing} of {len(golden.trips)} golden requests" in result.problem
    assert f"row {result.worst_row} ({', '.join(worst.why)}): expected {worst.fare:.6g}" in result.problem
    assert ("another order" in result.problem) == (corruption == "order")
    if corruption == "unit":
        assert worst.instance[DISTANCE] is not None
