from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from taxi_ml.gate import policy
from taxi_ml.pipeline.machines import MachineSize, UnknownMachineTypeError, offered_vcpus
from taxi_ml.pipeline.request import CompileRequest, RequestError
from taxi_ml.settings import Settings
from tests.pipeline.requests import make_parameters, make_request

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("compares", [True, False])
def test_request_round_trips(compares: bool, tmp_path: Path) -> None:  # noqa: FBT001  # a parameter
    """A request is read back as it was written."""
    request = make_request(tmp_path, compares=compares, resources=("Trainer=cpu:8",))

    assert CompileRequest.parse(request.to_json()) == request


SETTINGS = Settings.from_environment(
    {
        "TAXI_PROJECT": "taxi-local",
        "TAXI_BUCKET": "gs://taxi-local",
        "TAXI_PIPELINE_IMAGE": "taxi-vertex/pipeline:local",
    }
)


def request_of(settings: Settings) -> CompileRequest:
    """Return the request of an installation with these settings."""
    return CompileRequest.of(settings, modules_digest="a1", compares=True, enable_cache=True)


@pytest.mark.parametrize(
    "changes", [{"batch_size": 32}, {"tuner_trials": 0}, {"seed": 3}, {"beam_args": "--runner=X"}]
)
def test_another_setting_is_another_request(changes: dict[str, object]) -> None:
    """Everything that the spec depends on is a part of its address."""
    assert request_of(SETTINGS.with_overrides(**changes)).digest != request_of(SETTINGS).digest


@pytest.mark.parametrize("changes", [{"train_months": 3}, {"train_steps": 7}, {"cache_days": 9}])
def test_what_a_run_is_given_is_no_part_of_the_request(changes: dict[str, object]) -> None:
    """Another window or length of training finds its pipeline compiled."""
    assert request_of(SETTINGS.with_overrides(**changes)).digest == request_of(SETTINGS).digest


def test_other_code_is_another_request(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A spec that other code has compiled is not found, even if the image's tag is the same."""
    before = request_of(SETTINGS).digest
    (tmp_path / "definition.py").write_text("")
    monkeypatch.setattr("taxi_ml.image.CODE", tmp_path)

    assert request_of(SETTINGS).digest != before


def test_the_same_run_has_the_same_parameters(tmp_path: Path) -> None:
    """Values are strings in a fixed order, because they are part of the cache's keys."""
    request = make_request(tmp_path)
    bounds = {"TripStartHour": (0.0, 23.0), "rawDistance": (0.0, 9.0)}
    one, other = (
        make_parameters(tmp_path, ranges=dict(order)).values(request)
        for order in (bounds.items(), reversed(bounds.items()))
    )

    assert one == other
    assert json.loads(one["train_args"]) == {"num_steps": 200, "splits": ["train"]}


def test_wheels_depend_on_the_modules_only(tmp_path: Path) -> None:
    """Another setting changes the request's digest and leaves the wheels' address, a cache key."""
    one, other = make_request(tmp_path), make_request(tmp_path, seed=3)

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
        ({"schema_version": 1}, "schema_version is 1"),
        ({"tuner_stepz": 3}, "tuner_stepz"),
        ({"tuner_steps": "many"}, "tuner_steps is 'many'; give a int"),
        ({"tuner_steps": True}, "tuner_steps is True; give a int"),
        ({"enable_cache": 1}, "enable_cache is 1; give a bool"),
        ({"beam_args": "--runner=X"}, "beam_args is '--runner=X'"),
        ({"resources": ["Trainer", 1]}, "resources is"),
        ({"examples_format": "avro"}, "examples_format is 'avro'; give one of csv, parquet"),
        ({"pipeline_schema": "2.2"}, "pipeline_schema is '2.2'; give one of 2.1, 2.0"),
        ({"compares": None}, "compares is None; give a bool"),
    ],
)
def test_wrong_field_is_named(changes: dict[str, Any], named: str, tmp_path: Path) -> None:
    """The error for a request that is wrong in one field names the field."""
    text = json.dumps(json.loads(make_request(tmp_path).to_json()) | changes)

    with pytest.raises(RequestError, match=named.replace("(", r"\(")):
        CompileRequest.parse(text)


def test_missing_field_is_named(tmp_path: Path) -> None:
    """The error for a request without a field names the field."""
    fields = json.loads(make_request(tmp_path).to_json())
    del fields["image"]

    with pytest.raises(RequestError, match=r"missing fields \['image'\]"):
        CompileRequest.parse(json.dumps(fields))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000, "9" * 5000])
def test_what_is_no_object_is_refused(text: str) -> None:
    """Any truncated or foreign string is a RequestError."""
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
    """A machine type without a size is an error with the remedy."""
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
    """Every machine type that Vertex AI offers is known by its vCPUs."""
    assert offered_vcpus("c2-standard-60") == 60
