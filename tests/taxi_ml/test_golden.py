"""The documents of golden requests, read back and refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxi_ml.promotion.golden import Golden, GoldenError, GoldenTrip
from taxi_ml.promotion.golden_check import GoldenCheckError, GoldenCheckRecord, Latency
from tests.taxi_ml.reports import GOLDEN
from vertex_airflow.golden import GoldenResult

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TRIPS = st.builds(
    GoldenTrip,
    instance=st.dictionaries(st.text(), st.none() | st.integers(-(2**53), 2**53) | NUMBERS),
    fare=NUMBERS,
    why=st.lists(st.text()).map(tuple),
)


@given(st.builds(Golden, model=st.text(), trips=st.lists(TRIPS, min_size=1).map(tuple)))
def test_golden_trips_are_read_back(golden: Golden) -> None:
    """Reading what was written gives the same trips."""
    assert Golden.parse(golden.to_json()) == golden


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "golden.schema_version is 2; this version reads 1"),
        ({"rows": []}, "golden.rows is empty"),
        ({"rows": [{"instance": {"a": "b"}, "fare": 1, "why": []}]}, r"rows\[0\].instance.a is 'b'"),
        ({"rows": [{"instance": {}, "fare": None, "why": []}]}, r"rows\[0\].fare is null"),
        ({"more": 1}, "unknown fields: more"),
    ],
)
def test_other_trips_are_refused(change: dict[str, Any], message: str) -> None:
    """The error names the field."""
    with pytest.raises(GoldenError, match=message):
        Golden.parse(json.dumps(json.loads(GOLDEN.to_json()) | change))


def a_result(largest: float, **fields: Any) -> GoldenResult:  # noqa: ANN401  # GoldenResult's
    """Return the answers of a deployed model."""
    found: dict[str, Any] = {
        "deployed_model": "7",
        "rows": 200,
        "differing": 0,
        "largest_difference": largest,
        "worst_row": 3,
        "latencies": {"7": (0.3, 0.1, 0.2), "6": (0.5,)},
        "problem": "",
    }
    return GoldenResult(**(found | fields))


def test_a_check_is_read_back() -> None:
    """What the smoke test writes is what others read."""
    record = GoldenCheckRecord.parse(a_result(2e-7).to_json(champion="6"))

    assert record == GoldenCheckRecord(
        deployed_model="7",
        rows=200,
        differing=0,
        largest_difference=2e-7,
        problem="",
        challenger=Latency(p50=0.2, p95=0.3, requests=3),
        champion=Latency(p50=0.5, p95=0.5, requests=1),
    )


def test_a_check_that_failed_is_read_back() -> None:
    """A difference that is not a number, and a champion that served nothing, are null."""
    failed = a_result(math.inf, differing=2, problem="row 3")
    record = GoldenCheckRecord.parse(failed.to_json(champion=None))

    assert (record.differing, record.problem, record.largest_difference, record.champion) == (
        2,
        "row 3",
        None,
        None,
    )


@pytest.mark.parametrize(("change", "message"), [({"schema_version": 0}, "is 0"), ({"rows": -1}, "rows")])
def test_other_checks_are_refused(change: dict[str, Any], message: str) -> None:
    """The error names the field."""
    with pytest.raises(GoldenCheckError, match=message):
        GoldenCheckRecord.parse(json.dumps(json.loads(a_result(0.0).to_json(champion=None)) | change))
