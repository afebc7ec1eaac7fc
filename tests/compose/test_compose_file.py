"""Tests of docker-compose.yaml as it is written; `make test-compose` runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from local_gcp import container
from local_gcp.services import client_environment

REPOSITORY: Final = Path(__file__).parents[2]
TEXT: Final = (REPOSITORY / "docker-compose.yaml").read_text()
SERVICES: Final[dict[str, Any]] = yaml.safe_load(TEXT)["services"]
ONCE: Final = {"secrets", "airflow-init"}
WITH_DEFAULT: Final = re.compile(r"\$\{(\w+):-([^}]*)\}")
AIRFLOW: Final = ["airflow-api", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"]


def _with_defaults(text: str) -> str:
    return WITH_DEFAULT.sub(lambda found: found[2], text)


def _environment(service: str) -> dict[str, str]:
    return {name: _with_defaults(value) for name, value in SERVICES[service]["environment"].items()}


def test_env_example_lists_every_variable_with_its_default() -> None:
    """.env.example names exactly the variables that the file reads, each with the file's default."""
    lines = (REPOSITORY / ".env.example").read_text().splitlines()
    documented = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    assert documented == dict(WITH_DEFAULT.findall(TEXT))


def test_every_variable_has_a_default() -> None:
    """Without a .env everything starts: no variable is read without a default."""
    assert TEXT.count("${") - TEXT.count("${...}") == len(WITH_DEFAULT.findall(TEXT))


def test_ports_are_published_on_loopback_only() -> None:
    """Nothing can be reached from another machine."""
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_service_is_bounded(name: str) -> None:
    """Each service has a limit of memory and logs that rotate, and gives up all privileges."""
    service = SERVICES[name]

    assert (set(service["logging"]["options"]), service["cap_drop"], "mem_limit" in service) == (
        {"max-size", "max-file"},
        ["ALL"],
        True,
    )


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ONCE - {"postgres"}))
def test_service_that_stays_has_a_health_check(name: str) -> None:
    """Every service has a health check; PostgreSQL's is in its image."""
    assert SERVICES[name]["healthcheck"]["test"]


def test_services_wait_for_what_they_need() -> None:
    """No service starts before the ones that it depends on are healthy or have done their work."""
    edges = [
        (needed, rule["condition"])
        for service in SERVICES.values()
        for needed, rule in service.get("depends_on", {}).items()
    ]
    wanted = {
        name: "service_completed_successfully" if name in ONCE else "service_healthy" for name, _ in edges
    }

    assert edges == [(name, wanted[name]) for name, _ in edges]


def test_code_is_mounted_for_reading() -> None:
    """An edit in the repository shows at once, and no container changes the repository."""
    mounts = {mount for name in AIRFLOW for mount in SERVICES[name]["volumes"] if mount.startswith("./")}

    names = ("dags", "plugins", "taxi_ml", "requirements/pipeline.txt")

    assert mounts == {f"./{name}:/opt/taxi/{name}:ro" for name in names}


@pytest.mark.parametrize("name", AIRFLOW)
def test_airflow_reaches_the_containers_of_the_local_cloud(name: str) -> None:
    """Airflow has the variables that local_gcp gives to clients of the cloud in containers."""
    where = container.setting(_environment("vertex"))
    expected = client_environment(where)
    del expected["LOCAL_GCP_STATE_DIR"]  # a folder of the cloud's own containers
    given = _environment(name)
    connection = "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"

    assert json.loads(given.pop(connection)) == json.loads(expected.pop(connection))
    assert {key: given.get(key) for key in expected} == expected


@pytest.mark.parametrize("name", ["gcs", "bigquery", "vertex"])
def test_cloud_publishes_the_port_that_its_service_listens_on(name: str) -> None:
    """The published port of a container is the one of the service inside."""
    ((_, _, inside),) = [_with_defaults(port).split(":") for port in SERVICES[name]["ports"]]

    assert int(inside) == container.PORTS.get(name, container.PORTS.get(f"{name}.rest"))


@pytest.mark.parametrize("name", ["gcs", "bigquery", "vertex"])
def test_cloud_is_told_its_published_addresses(name: str) -> None:
    """Clients and browsers of this machine, which call a server by its published port, are served."""
    ((_, published, _),) = [_with_defaults(port).split(":") for port in SERVICES[name]["ports"]]
    told = container.setting(_environment(name)).told

    assert {f"127.0.0.1:{published}", f"localhost:{published}"} <= set(told)


def test_local_cloud_is_built_without_an_image_that_must_be_pulled() -> None:
    """Beam's worker for Dataflow is left out: the stage that has it is the base image."""
    dockerfile = (REPOSITORY / "deploy" / "docker" / "pipeline.Dockerfile").read_text()
    (base,) = re.findall(r"(?m)^ARG BASE=(\S+)$", dockerfile)

    assert [SERVICES[name]["build"]["args"] for name in ("gcs", "bigquery", "vertex")] == [
        {"BEAM_SDK": base}
    ] * 3


def test_secrets_are_in_no_variable() -> None:
    """Passwords and keys are read from files that only the containers' user can read."""
    named = {key for name in AIRFLOW for key in SERVICES[name]["environment"]}
    secret = {key for key in named if re.search("SECRET|FERNET|SQL_ALCHEMY", key)}

    assert {key for key in secret if not key.endswith("_CMD")} == set()
