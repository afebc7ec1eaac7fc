"""Installs stand-ins for the Google providers, so that Terraform runs where its registry cannot be reached.

A stand-in has its provider's schema, which it reads from published bindings, and no cloud behind it.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.deploy.google_provider.schema import schema_of
from tests.environments import interpreter_of

if TYPE_CHECKING:
    from collections.abc import Mapping

REPOSITORY = Path(__file__).parents[3]
_LOCK = REPOSITORY / "requirements/terraform.txt"
_BINDINGS = "lib/python*/site-packages/cdktf_cdktf_provider_{package}/_jsii/*.tgz"
# The prefix of the folders in each provider's bindings.
_PREFIXES = {"google": "", "google-beta": "google-"}
_SETTINGS = """provider_installation {{
  filesystem_mirror {{
    path = "{mirror}"
  }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A copy of the Terraform module and of the files of a deployment, for terraform to write in."""

    folder: Path
    variables: Mapping[str, str]

    @classmethod
    def make(cls, folder: Path, variables: Mapping[str, str]) -> Self:
        """Copy the two into a new folder; `variables` are those of the environment of each command."""
        shutil.copytree(
            REPOSITORY / "deploy" / "terraform",
            folder / "deploy" / "terraform",
            ignore=shutil.ignore_patterns(".*"),
        )
        shutil.copytree(REPOSITORY / "deploy" / "composer" / "env", folder / "deploy" / "composer" / "env")
        return cls(folder=folder, variables=variables)

    def keep_state_here(self) -> None:
        """Let the state be a file instead of an object in a bucket."""
        (self.folder / "deploy" / "terraform" / "backend_override.tf").write_text(
            'terraform {\n  backend "local" {}\n}\n'
        )

    def terraform(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run terraform in the copy."""
        return self.run(shlex.join(["terraform", "-chdir=deploy/terraform", *arguments]))

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the copy; its output has no colors."""
        return subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder,
            env={**self.variables, "TF_CLI_ARGS": "-no-color", "TF_IN_AUTOMATION": "1"},
            capture_output=True,
            text=True,
            check=False,
        )


def install(folder: Path) -> dict[str, str]:
    """Make a mirror with the stand-ins, and return the variables that point terraform to it.

    It takes seconds and, unless they are in the cache, a download of 130 MB.
    """
    python = interpreter_of(_LOCK)
    configuration = "\n".join(file.read_text() for file in (REPOSITORY / "deploy" / "terraform").glob("*.tf"))
    names = _full_names(folder)
    for provider, prefix in _PREFIXES.items():
        bindings = _BINDINGS.format(package=provider.replace("-", "_"))
        archive = next(python.parents[1].glob(bindings))
        version, schema = schema_of(archive, configuration, prefix=prefix)
        document = folder / f"{provider}.json"
        document.write_text(json.dumps(schema))
        program = (
            folder / names[provider] / version / _platform() / f"terraform-provider-{provider}_v{version}"
        )
        program.parent.mkdir(parents=True)
        started = shlex.join(str(part) for part in (python, Path(__file__).with_name("server.py"), document))
        program.write_text(f"#!/bin/sh\nexec {started}\n")
        program.chmod(0o755)
    settings = folder / "terraform.rc"
    settings.write_text(_SETTINGS.format(mirror=folder))
    return {"TF_CLI_CONFIG_FILE": str(settings), "TF_DISABLE_PLUGIN_TLS": "1"}


def _full_names(folder: Path) -> dict[str, str]:
    """Return the providers' names with their registry, which terraform calls the folders of a mirror by."""
    sources = {provider: {"source": f"hashicorp/{provider}"} for provider in _PREFIXES}
    (folder / "main.tf.json").write_text(json.dumps({"terraform": {"required_providers": sources}}))
    command = [str(shutil.which("terraform")), f"-chdir={folder}", "providers", "-no-color"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {name.rpartition("/")[2]: name for name in re.findall(r"provider\[(.+?)\]", shown)}


def _platform() -> str:
    command = [str(shutil.which("terraform")), "version", "-json"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True)
    return str(json.loads(shown.stdout)["platform"])
