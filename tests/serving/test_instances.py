from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxi_ml.serving.instances import (
    BadRequestError,
    ContractError,
    Feature,
    FeatureType,
    InstanceContract,
)

HOUR = Feature(name="hour", json_type=FeatureType.INTEGER, missing=None, minimum=0, maximum=23)
METRES = Feature(name="metres", json_type=FeatureType.NUMBER, missing=-1.0, minimum=0, maximum=5e6)
CONTRACT = InstanceContract(features=(HOUR, METRES), signature="serving_default", prediction="fare")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def body(*instances: object) -> bytes:
    """Write a request."""
    return json.dumps({"instances": instances}).encode()


@pytest.mark.parametrize("instance", [{"metres": 3, "hour": 7}, {"metres": 3.0, "hour": 7.0}])
def test_values_come_in_the_contracts_order_and_types(instance: dict[str, float]) -> None:
    """A whole number is accepted where a number is required, and a whole double as an integer."""
    (row,) = CONTRACT.request(body(instance)).rows

    assert list(row.items()) == [("hour", 7), ("metres", 3.0)]
    assert [type(value) for value in row.values()] == [int, float]


@pytest.mark.parametrize(("hour", "metres"), [(0, 0), (23, 5e6), (23.0, 5_000_000)])
def test_ends_of_a_range_are_in_it(hour: float, metres: float) -> None:
    """The least and the largest value are accepted."""
    request = CONTRACT.request(body({"hour": hour, "metres": metres}))

    assert request.rows == [{"hour": hour, "metres": metres}]


@pytest.mark.parametrize("instance", [{"hour": 7}, {"hour": 7, "metres": None}])
def test_nullable_feature_may_be_null_or_absent(instance: dict[str, Any]) -> None:
    """Unknown values become the one that the transform reads as missing."""
    assert CONTRACT.request(body(instance)).rows == [{"hour": 7, "metres": -1.0}]


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        ({}, r"instances\[1\]: feature 'hour' is missing; give an integer"),
        ({"hour": None}, r"instances\[1\]: feature 'hour' is missing"),
        ({"hour": "7"}, r"instances\[1\]: feature 'hour' is '7'; give an integer"),
        ({"hour": 7.5}, r"feature 'hour' is 7\.5"),
        ({"hour": True}, r"feature 'hour' is True"),
        ({"hour": 24}, r"instances\[1\]: feature 'hour' is 24; give an integer from 0 to 23$"),
        ({"hour": -1}, r"feature 'hour' is -1; give an integer from 0 to 23$"),
        ({"hour": 1e300}, r"feature 'hour' is 1e\+300; give an integer from 0 to 23$"),
        ({"hour": 7, "metres": "far"}, r"feature 'metres' is 'far'; give a number from 0 to .*, or null"),
        ({"hour": 7, "metres": -1}, r"feature 'metres' is -1; give a number from 0 to 5000000.0, or null"),
        ({"hour": 7, "metres": 1e39}, r"feature 'metres' is 1e\+39; give a number from 0 to 5000000.0"),
        ({"hour": 7, "metres": 10**400}, r"feature 'metres' is 1000.*; give a number from 0"),
        ({"hour": 7, "meters": 3}, r"unknown feature 'meters'; known are \['hour', 'metres'\]"),
        ([7], r"instances\[1\] is \[7\]; give an object of features"),
    ],
)
def test_wrong_instance_is_named_with_its_feature(instance: object, message: str) -> None:
    """The error names the instance and the feature, the value that was sent, and what to send."""
    with pytest.raises(BadRequestError, match=message):
        CONTRACT.request(body({"hour": 7}, instance))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"instances": [' + b"9" * 5000 + b"]}", "not valid JSON"),
        (b'{"instances": [{"hour": NaN}]}', r"instances\[0\]: feature 'hour' is nan; give an integer"),
        (b'{"instances": [{"hour": 7, "metres": 1e999}]}', "feature 'metres' is inf; give a number"),
        (b"[]", 'no "instances"'),
        (b"{}", 'no "instances"'),
        (b'{"instances": []}', "at least one instance"),
        (b'{"instances": {}}', '"instances" is {}; give a list'),
        (b'{"instances": [{"hour": 7, "metres": NaN}]}', "feature 'metres' is nan"),
    ],
)
def test_wrong_body_is_refused(text: bytes, message: str) -> None:
    """The error for anything but a list of instances says what to send."""
    with pytest.raises(BadRequestError, match=message):
        CONTRACT.request(text)


@pytest.mark.parametrize(
    ("parameters", "details"),
    [(None, False), ({}, False), ({"details": False}, False), ({"details": True}, True)],
)
def test_details_are_given_on_request(parameters: object, details: bool) -> None:  # noqa: FBT001  # a case
    """Without parameters, or with null as Vertex AI's clients send it, a prediction is a number."""
    text = json.dumps({"instances": [{"hour": 7}], "parameters": parameters}).encode()

    assert CONTRACT.request(text).details == details


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"detail": True}, r'"parameters" is {\'detail\': True}; leave it out, or give {"details": true}'),
        ([], r'"parameters" is \[\]; leave it out'),
        ({"details": "yes"}, "parameter 'details' is 'yes'; give true or false"),
        ({"details": 1.0}, r"parameter 'details' is 1\.0; give true or false"),
    ],
)
def test_other_parameters_are_refused(parameters: object, message: str) -> None:
    """A parameter that the server does not have is not ignored."""
    text = json.dumps({"instances": [{"hour": 7}], "parameters": parameters}).encode()

    with pytest.raises(BadRequestError, match=message):
        CONTRACT.request(text)


@given(json_values)
def test_any_instance_is_answered_or_refused(instance: object) -> None:
    """Any JSON gives finite values for all features, or a BadRequestError."""
    try:
        rows = CONTRACT.request(body(instance)).rows
    except BadRequestError:
        return

    assert all(math.isfinite(row[feature.name]) for row in rows for feature in CONTRACT.features)


@given(st.binary(max_size=50))
def test_any_body_is_answered_or_refused(text: bytes) -> None:
    """Bytes that are not a request are a BadRequestError and nothing else."""
    with pytest.raises(BadRequestError):
        CONTRACT.request(text)


@pytest.mark.parametrize(
    ("json_type", "missing", "least", "largest"),
    [
        ("integer", None, -(2**63), 2**63 - 1),
        ("number", None, -3.4028234663852886e38, 3.4028234663852886e38),
        ("number", -1.0, 0, 3.4028234663852886e38),
    ],
)
def test_feature_without_bounds_has_those_of_its_type(
    json_type: str, missing: float | None, least: float, largest: float
) -> None:
    """A model without ranges is served, and gets no value that an example cannot carry."""
    feature = Feature.parse({"name": "x", "type": json_type, "missing": missing})

    assert (feature.minimum, feature.maximum) == (least, largest)


@pytest.mark.parametrize("bounds", [{"minimum": 3, "maximum": 2}, {"maximum": 1e39}, {"minimum": "0"}])
def test_impossible_bounds_are_refused(bounds: dict[str, object]) -> None:
    """A model whose ranges are empty or beyond its types is not served."""
    feature = {"name": "x", "type": "number", "missing": None, **bounds}
    text = json.dumps({"features": [feature], "signature": "s", "prediction": "p"})

    with pytest.raises(ContractError):
        InstanceContract.parse(text)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"features": [{"name": "x"}]}'])
def test_unreadable_contract_is_refused(text: str) -> None:
    """A model without a list of its inputs is not served."""
    with pytest.raises(ContractError):
        InstanceContract.parse(text)
