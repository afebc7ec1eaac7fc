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

HOUR = Feature(name="hour", json_type=FeatureType.INTEGER, missing=None)
METRES = Feature(name="metres", json_type=FeatureType.NUMBER, missing=-1.0)
CONTRACT = InstanceContract(features=(HOUR, METRES), signature="serving_default", prediction="fare")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def body(*instances: object) -> bytes:
    """Write a request."""
    return json.dumps({"instances": instances}).encode()


def test_values_come_in_the_contracts_order_and_types() -> None:
    """A whole number is taken where a number is asked for."""
    assert CONTRACT.rows(body({"metres": 3, "hour": 7})) == [{"hour": 7, "metres": 3.0}]


@pytest.mark.parametrize("instance", [{"hour": 7}, {"hour": 7, "metres": None}])
def test_nullable_feature_may_be_null_or_absent(instance: dict[str, Any]) -> None:
    """What is unknown becomes the value that the transform reads as missing."""
    assert CONTRACT.rows(body(instance)) == [{"hour": 7, "metres": -1.0}]


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        ({}, r"instances\[1\]: feature 'hour' is missing; give an integer"),
        ({"hour": None}, r"instances\[1\]: feature 'hour' is missing"),
        ({"hour": "7"}, r"instances\[1\]: feature 'hour' is '7'; give an integer"),
        ({"hour": 7.5}, r"feature 'hour' is 7\.5"),
        ({"hour": True}, r"feature 'hour' is True"),
        ({"hour": 2**63}, r"feature 'hour' is 9223372036854775808; it must fit 64 bits"),
        ({"hour": 7, "metres": "far"}, r"feature 'metres' is 'far'; give a number, or null"),
        ({"hour": 7, "metres": -1}, r"feature 'metres' is -1; it must be finite and not negative"),
        ({"hour": 7, "metres": 10**400}, r"feature 'metres' is 1000.*; it must be finite"),
        ({"hour": 7, "meters": 3}, r"unknown feature 'meters'; known are \['hour', 'metres'\]"),
        ([7], r"instances\[1\] is \[7\]; give an object of features"),
    ],
)
def test_wrong_instance_is_named_with_its_feature(instance: object, message: str) -> None:
    """A client reads which instance, which feature, what it sent, and what to send."""
    with pytest.raises(BadRequestError, match=message):
        CONTRACT.rows(body({"hour": 7}, instance))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", 'no "instances"'),
        (b"{}", 'no "instances"'),
        (b'{"instances": []}', "at least one instance"),
        (b'{"instances": {}}', '"instances" is {}; give a list'),
        (b'{"instances": [{"hour": 7, "metres": NaN}]}', "feature 'metres' is nan"),
    ],
)
def test_wrong_body_is_refused(text: bytes, message: str) -> None:
    """What is no list of instances says what to send."""
    with pytest.raises(BadRequestError, match=message):
        CONTRACT.rows(text)


@given(json_values)
def test_any_instance_is_answered_or_refused(instance: object) -> None:
    """Whatever JSON comes, there are finite values for all features, or a BadRequestError."""
    try:
        rows = CONTRACT.rows(body(instance))
    except BadRequestError:
        return

    assert all(math.isfinite(row[feature.name]) for row in rows for feature in CONTRACT.features)


@given(st.binary(max_size=50))
def test_any_body_is_answered_or_refused(text: bytes) -> None:
    """Bytes that are no request are a BadRequestError and nothing else."""
    with pytest.raises(BadRequestError):
        CONTRACT.rows(text)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"features": [{"name": "x"}]}'])
def test_unreadable_contract_is_refused(text: str) -> None:
    """A model that does not say what it reads is not served."""
    with pytest.raises(ContractError):
        InstanceContract.parse(text)
