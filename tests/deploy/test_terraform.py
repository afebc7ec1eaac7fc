"""The Terraform module, as far as it can be checked without Google Cloud."""

from __future__ import annotations

import re
import shutil
import subprocess
from inspect import getsource
from pathlib import Path

import pytest
from airflow.models.dagrun import DagRun

REPOSITORY = Path(__file__).parents[2]
MODULE = REPOSITORY / "terraform"
DOCUMENT = REPOSITORY / "docs" / "composer.md"

needs_terraform = pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")


def terraform(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run terraform in a folder."""
    command = ["terraform", f"-chdir={folder}", *arguments, "-no-color"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_terraform
def test_the_files_are_formatted() -> None:
    """Whatever terraform reads, it would write the same."""
    ended = terraform(MODULE, "fmt", "-check", "-recursive")

    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr


@needs_terraform
def test_the_module_is_valid(tmp_path: Path) -> None:
    """Types, names and references hold against the provider's schema, where the provider can be had."""
    shutil.copytree(MODULE, tmp_path / "module")
    ready = terraform(tmp_path / "module", "init", "-backend=false", "-input=false")
    if ready.returncode:
        pytest.skip(f"the provider cannot be installed: {' '.join(ready.stderr.split())[:200]}")

    ended = terraform(tmp_path / "module", "validate")

    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_an_environment_sets_variables_that_exist(environment: str) -> None:
    """Each file gives what has no default, and nothing that nobody reads."""
    text = (MODULE / "variables.tf").read_text()
    blocks = dict(re.findall(r'variable "(\w+)" \{(.*?)\n\}', text, re.DOTALL))
    required = {name for name, block in blocks.items() if "default " not in block}

    given = set(re.findall(r"(?m)^(\w+) +=", (MODULE / "env" / f"{environment}.tfvars").read_text()))

    assert required <= given <= set(blocks)


def test_airflow_writes_what_the_alert_waits_for() -> None:
    """The text that counts as a failed run is the scheduler's."""
    waited_for = re.search(r"Marking run \.\*(\w+)\.\* failed", (MODULE / "alerts.tf").read_text())

    assert waited_for
    assert "Marking run %s failed" in getsource(DagRun.update_state)


def test_every_role_has_a_reason() -> None:
    """The table of roles names each role that is granted."""
    granted = set(re.findall(r'"(?:roles/)?((?:\w+)\.(?:\w+))"', (MODULE / "accounts.tf").read_text()))
    document = DOCUMENT.read_text()

    roles = [role for role in sorted(granted) if not role.startswith(("google.", "attribute.", "assertion."))]
    assert [role for role in roles if f"`roles/{role}`" not in document] == []
    assert len(roles) >= 10


def test_every_alert_says_what_to_do() -> None:
    """Each alert has its paragraph."""
    alerts = re.findall(r'(?m)^    "(.+)" = \{$', (MODULE / "alerts.tf").read_text())
    document = DOCUMENT.read_text()

    assert len(alerts) == 4
    assert [alert for alert in alerts if f"**{alert}**" not in document] == []
