from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from taxi_ml.gate import policy
from taxi_ml.pipeline.machines import MachineSize, UnknownMachineTypeError, offered_vcpus
from taxi_ml.pipeline.request import CompileRequest, RequestError
from tests.pipeline.requests import CHAMPION, make_request

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("champion", [None, CHAMPION])
def test_request_round_trips(champion: Any, tmp_path: Path) -> None:  # noqa: ANN401  # either
    """What is written is what is read."""
    request = make_request(tmp_path, champion=champion, resources=("Trainer=cpu:8",))

    assert CompileRequest.parse(request.to_json()) == request


def test_wheels_depend_on_the_modules_only(tmp_path: Path) -> None:
    """Another window changes the request's digest and leaves the wheels' address, a cache key."""
    one, other = make_request(tmp_path), make_request(tmp_path, window="2015-08_train24_test1")

    assert one.digest != other.digest
    assert one.wheels_uri == other.wheels_uri


def test_evaluator_stops_nothing_that_the_gate_lets_through(tmp_path: Path) -> None:
    """Near a bar of the policy the gate says what is wrong, not a missing blessing."""
    request, rules = make_request(tmp_path), policy.load()

    assert request.max_rmse_usd > rules.max_usd.rmse
    assert request.max_rmse_growth >= 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"schema_version": 2}, "schema_version is 2"),
        ({"train_stepz": 3}, "train_stepz"),
        ({"train_steps": "many"}, "train_steps is 'many'; give a int"),
        ({"train_steps": True}, "train_steps is True; give a int"),
        ({"enable_cache": 1}, "enable_cache is 1; give a bool"),
        ({"beam_args": "--runner=X"}, "beam_args is '--runner=X'"),
        ({"resources": ["Trainer", 1]}, "resources is"),
        ({"examples_format": "avro"}, "examples_format is 'avro'; give one of csv, parquet"),
        ({"pipeline_schema": "2.2"}, "pipeline_schema is '2.2'; give one of 2.1, 2.0"),
        ({"ranges": [0, 23]}, "ranges is"),
        ({"ranges": {"TripStartHour": [0]}}, "give an object of .least, largest. by feature"),
        ({"ranges": {"TripStartHour": [0, "23"]}}, "ranges is"),
        ({"ranges": {"TripStartHour": [False, True]}}, "ranges is"),
        ({"champion": {"name": "x"}}, "champion is"),
        ({"champion": {"name": "x", "uri": 1}}, "champion is"),
    ],
)
def test_wrong_field_is_named(changes: dict[str, Any], named: str, tmp_path: Path) -> None:
    """A request that is wrong in one field says in which."""
    text = json.dumps(json.loads(make_request(tmp_path).to_json()) | changes)

    with pytest.raises(RequestError, match=named.replace("(", r"\(")):
        CompileRequest.parse(text)


def test_missing_field_is_named(tmp_path: Path) -> None:
    """A request without a field says which."""
    fields = json.loads(make_request(tmp_path).to_json())
    del fields["window"]

    with pytest.raises(RequestError, match=r"missing fields \['window'\]"):
        CompileRequest.parse(json.dumps(fields))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000, "9" * 5000])
def test_what_is_no_object_is_refused(text: str) -> None:
    """Truncated or foreign text is a RequestError, whatever it is."""
    with pytest.raises(RequestError):
        CompileRequest.parse(text)


@pytest.mark.parametrize(
    ("machine_type", "size"),
    [
        ("n1-standard-4", MachineSize(cpus=4, memory=15)),
        ("n1-highmem-2", MachineSize(cpus=2, memory=13)),
        ("e2-standard-8", MachineSize(cpus=8, memory=32)),
        ("c2d-highcpu-16", MachineSize(cpus=16, memory=16)),
    ],
)
def test_machine_type_says_its_size(machine_type: str, size: MachineSize) -> None:
    """A predefined machine type carries vCPUs and memory in its name."""
    assert MachineSize.of(machine_type) == size


def test_machine_type_without_a_size_is_refused() -> None:
    """A type that says no size is an error with the remedy."""
    with pytest.raises(UnknownMachineTypeError, match="such as n1-standard-4"):
        MachineSize.of("e2-micro")


@pytest.mark.parametrize(
    "machine_type", ["n1-standard-5", "t2a-standard-4", "e2-standard-64", "e2-micro", "standard"]
)
def test_a_machine_type_that_vertex_does_not_offer_is_refused(machine_type: str) -> None:
    """A size or family that Vertex AI does not have is an error with one that it has."""
    with pytest.raises(UnknownMachineTypeError, match="such as"):
        offered_vcpus(machine_type)


def test_a_machine_type_of_vertex_has_its_vcpus() -> None:
    """What Vertex AI offers is known by its vCPUs."""
    assert offered_vcpus("c2-standard-60") == 60
