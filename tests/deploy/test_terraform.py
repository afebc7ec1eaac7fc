"""The Terraform module, as far as it can be checked without Google Cloud."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from inspect import getsource
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from airflow.models.dagrun import DagRun

from deploy.composer.target import Target
from tests.deploy.google_provider.stand_in import REPOSITORY, Checkout
from tests.deploy.plans import EVERYTHING, needs_terraform

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local_stack import LocalStack

MODULE = REPOSITORY / "deploy" / "terraform"
DOCUMENT = REPOSITORY / "docs" / "composer.md"

ENVIRONMENTS = ("dev", "staging", "prod")
ENV_FILE = "deploy/composer/env/dev.env"


@needs_terraform
def test_the_files_are_formatted(tmp_path: Path) -> None:
    """Every file has the format of `terraform fmt`."""
    ended = Checkout.make(tmp_path / "copy", os.environ).terraform("fmt", "-check", "-recursive")

    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr


@needs_terraform
def test_the_provider_accepts_the_module(tmp_path: Path) -> None:
    """The Google provider itself validates the module, where terraform can install it."""
    copy = Checkout.make(tmp_path / "copy", os.environ)
    ready = copy.terraform("init", "-backend=false", "-input=false")
    if ready.returncode:
        why = " ".join(ready.stderr.replace("│", " ").partition("Error: ")[2].split())
        pytest.skip(f"it cannot be installed, and its stand-in does alone: {why[:160]}")

    ended = copy.terraform("validate")

    assert ended.returncode == 0, ended.stderr


@needs_terraform
def test_the_module_is_valid(checkout: Checkout) -> None:
    """Types, names and references conform to the provider's published schema."""
    ended = checkout.terraform("validate")

    assert "The configuration is valid." in ended.stdout, ended.stderr


@needs_terraform
@pytest.mark.parametrize(
    ("file", "right", "wrong", "said"),
    [
        ("main.tf", "format        =", "formatt       =", 'An argument named "formatt" is not expected here'),
        ("main.tf", 'format        = "DOCKER"', "", 'The argument "format" is required'),
        ("main.tf", "soft_delete_policy {", "soft_deletion {", 'type "soft_deletion" are not expected here'),
        (
            "main.tf",
            "age = 1",
            'age = "a day"',
            'Inappropriate value for attribute "age": a number is required',
        ),
        ("main.tf", 'resource "google_bigquery_dataset"', 'resource "google_dataset"', "resource type"),
        ("main.tf", '    action {\n      type = "Delete"\n    }\n', "", "Insufficient action blocks"),
        ("composer.tf", "dag_processor {", "scheduler {", "Too many scheduler blocks"),
        ("composer.tf", "auto_create_subnetworks", "self_link", "Value for unconfigurable attribute"),
        (
            "accounts.tf",
            "  provider = google-beta\n",
            "",
            'not support resource type "google_project_service_identity"',
        ),
        ("outputs.tf", "this.repository_id", "this.repository", "no argument, nested block, or exported"),
    ],
)
def test_a_mistake_is_found(checkout: Checkout, file: str, right: str, wrong: str, said: str) -> None:
    """A name, type, number or absence that the provider would refuse is refused."""
    broken = checkout.folder / "deploy" / "terraform" / file
    assert right in broken.read_text()
    broken.write_text(broken.read_text().replace(right, wrong, 1))

    ended = checkout.terraform("validate")

    assert said in " ".join(ended.stderr.replace("│", " ").split())


@needs_terraform
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_can_be_planned(checkout: Checkout, environment: str) -> None:
    """Terraform plans every resource of the module."""
    ended = checkout.terraform("plan", "-input=false", f"-var-file=env/{environment}.tfvars")

    assert re.search(r"Plan: \d\d to add, 0 to change, 0 to destroy", ended.stdout), ended.stderr
    assert f'"taxi-{environment}-pipeline"' in ended.stdout


@needs_terraform
def test_every_resource_can_be_planned(checkout: Checkout) -> None:
    """With every option on, no resource of the module is left out."""
    ended = checkout.terraform("plan", "-input=false", "-var-file=env/prod.tfvars", *EVERYTHING)

    written = {
        found
        for file in (checkout.folder / "deploy" / "terraform").glob("*.tf")
        for found in re.findall(r'(?m)^resource "(\w+)" "\w+"', file.read_text())
    }
    assert set(re.findall(r'(?m)^  \+ resource "(\w+)"', ended.stdout)) == written, ended.stderr


@needs_terraform
def test_services_are_enabled_first(checkout: Checkout) -> None:
    """In a new project every resource is created after its API is enabled."""
    ended = checkout.terraform("graph")

    resources = set(re.findall(r'(?m)^  "(.+)" \[', ended.stdout))
    dependent = set(re.findall(r'(?m)^  "(.+)" -> ', ended.stdout))
    assert resources - dependent == {"google_project_service.this"}, ended.stderr


@needs_terraform
@pytest.mark.stack
@pytest.mark.parametrize(
    ("document", "heading"),
    [("README.md", "## Deploy to Composer"), ("docs/composer.md", "## From nothing to the first model")],
)
def test_the_documents_lead_to_a_deployment(
    tmp_path: Path, stand_in: dict[str, str], stack: LocalStack, document: str, heading: str
) -> None:
    """Terraform's own lines write the file that a deployment reads; their state is a local object."""
    bucket = f"state-{uuid4().hex}"
    stack.storage_client().create_bucket(bucket)
    storage = f"{stack.environment['STORAGE_EMULATOR_HOST']}/storage/v1/"
    cloud = {"GOOGLE_BACKEND_STORAGE_CUSTOM_ENDPOINT": storage, "GOOGLE_OAUTH_ACCESS_TOKEN": "nobody's"}
    confirmed = {"TF_CLI_ARGS_apply": "-auto-approve"}
    copy = Checkout.make(tmp_path / "copy", {**stand_in, **cloud, **confirmed})
    section = (REPOSITORY / document).read_text().partition(heading)[2].partition("\n## ")[0]
    lines = re.findall(r"(?m)^ *(terraform .*)$", section)

    ended = [copy.run(re.sub("<.*bucket.*>", bucket, line)) for line in lines]

    written, given = (Target.read(folder / ENV_FILE) for folder in (copy.folder, REPOSITORY))
    account = {"TAXI_SERVICE_ACCOUNT": written.settings["TAXI_SERVICE_ACCOUNT"]}
    assert [each.stderr for each in ended if each.returncode] == []
    assert written == replace(given, settings={**given.settings, **account})
    assert [blob.name for blob in stack.storage_client().list_blobs(bucket)] == ["dev/default.tfstate"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_sets_variables_that_exist(environment: str) -> None:
    """Each file sets the variables without a default, and none that is not read."""
    text = (MODULE / "variables.tf").read_text()
    blocks = dict(re.findall(r'variable "(\w+)" \{(.*?)\n\}', text, re.DOTALL))
    required = {name for name, block in blocks.items() if "default " not in block}

    given = set(re.findall(r"(?m)^(\w+) +=", (MODULE / "env" / f"{environment}.tfvars").read_text()))

    assert required <= given <= set(blocks)


def test_airflow_writes_what_the_alert_waits_for() -> None:
    """The string that counts as a failed run is the scheduler's."""
    waited_for = re.search(r"Marking run \.\*(\w+)\.\* failed", (MODULE / "alerts.tf").read_text())

    assert waited_for
    assert "Marking run %s failed" in getsource(DagRun.update_state)


def test_every_role_has_a_reason() -> None:
    """The table of roles names each role that is granted."""
    text = "\n".join(file.read_text() for file in MODULE.glob("*.tf"))
    granted = set(re.findall(r'"(?:roles/)?((?:\w+)\.(?:\w+))"', text))
    document = DOCUMENT.read_text()

    roles = [role for role in sorted(granted) if not role.startswith(("google.", "attribute.", "assertion."))]
    assert [role for role in roles if f"`roles/{role}`" not in document] == []
    assert len(roles) >= 10


def test_every_alert_says_what_to_do() -> None:
    """Each alert has its paragraph."""
    text = (MODULE / "alerts.tf").read_text()
    alerts = re.findall(r'(?m)^    (?:display_name = )?"(.+)"(?: = \{)?$', text)
    document = DOCUMENT.read_text()

    assert len(alerts) == 4
    assert [alert for alert in alerts if f"**{alert}**" not in document] == []
