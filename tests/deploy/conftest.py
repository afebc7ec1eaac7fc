"""Fixtures of the deployment's tests: the Terraform module, ready to plan, and its plans."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.deploy.google_provider.stand_in import install
from tests.deploy.plans import EVERYTHING, Plan, initialized

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.google_provider.stand_in import Checkout


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables with which terraform uses the stand-ins for the Google providers."""
    return {**os.environ, **install(tmp_path_factory.mktemp("mirror"))}


@pytest.fixture
def checkout(tmp_path: Path, stand_in: dict[str, str]) -> Checkout:
    """A copy in which terraform is initialized, with its state in a file."""
    return initialized(tmp_path / "copy", stand_in)


@pytest.fixture(scope="session")
def prod(tmp_path_factory: pytest.TempPathFactory, stand_in: dict[str, str]) -> Plan:
    """The plan of prod, with every option on except Dataflow."""
    return _planned(tmp_path_factory.mktemp("prod"), stand_in, "-var-file=env/prod.tfvars", *EVERYTHING)


@pytest.fixture(scope="session")
def with_dataflow(tmp_path_factory: pytest.TempPathFactory, stand_in: dict[str, str]) -> Plan:
    """The plan of prod with Dataflow as well."""
    variables = ("-var-file=env/prod.tfvars", *EVERYTHING, "-var=dataflow_workers=50")
    return _planned(tmp_path_factory.mktemp("dataflow"), stand_in, *variables)


def _planned(folder: Path, stand_in: dict[str, str], *variables: str) -> Plan:
    copy = initialized(folder / "copy", stand_in)
    planned = copy.terraform("plan", "-input=false", "-out=plan", *variables)
    assert planned.returncode == 0, planned.stderr
    return Plan(json.loads(copy.terraform("show", "-json", "plan").stdout))
