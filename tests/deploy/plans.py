"""Terraform's module with stand-ins for the Google providers, and its plans."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.deploy.google_provider.stand_in import Checkout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# Arguments with which every resource of the module is made.
EVERYTHING = (
    "-var=private_network=true",
    "-var=kms_key=projects/p/locations/us-central1/keyRings/r/cryptoKeys/k",
    "-var=deployer_repository_id=123456",
)


needs_terraform = pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")


def initialized(folder: Path, variables: dict[str, str]) -> Checkout:
    """Return a new copy of the module, ready to plan."""
    copy = Checkout.make(folder, variables)
    copy.keep_state_here()
    ended = copy.terraform("init", "-input=false")
    assert ended.returncode == 0, ended.stderr
    return copy


@dataclass(frozen=True, slots=True)
class Grant:
    """A role for an account; `condition` is its expression, or empty."""

    kind: str
    role: str
    condition: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Terraform's plan, as `terraform show -json` prints it."""

    document: dict[str, Any]

    def resources(self, kind: str) -> Iterator[dict[str, Any]]:
        """Yield the resources of a type."""
        resources = self.document["planned_values"]["root_module"]["resources"]
        yield from (each for each in resources if each["type"] == kind)

    def values(self, kind: str, name: str = "this") -> dict[str, Any]:
        """Return the values of the one resource with this type and name, as far as they are known."""
        (found,) = (each for each in self.resources(kind) if each["name"] == name)
        values: dict[str, Any] = found["values"]
        return values

    def grants(self, account: str) -> set[Grant]:
        """Return the grants of an account of the module; a role of the module is named by its address."""
        found = set()
        for each in self.document["planned_values"]["root_module"]["resources"]:
            if not each["type"].endswith("_iam_member"):
                continue
            written = self._written(each["type"], each["name"])
            keyed = str(each.get("index", "")).partition("/")[0] == account
            named = f"google_service_account.{account}.member" in written["member"].get("references", [])
            if keyed or named:
                role = each["values"].get("role") or written["role"]["references"][-1]
                conditions = each["values"].get("condition") or [{"expression": ""}]
                found.add(Grant(each["type"], role, conditions[0]["expression"]))
        return found

    def _written(self, kind: str, name: str) -> dict[str, Any]:
        resources = self.document["configuration"]["root_module"]["resources"]
        (found,) = (each for each in resources if (each["type"], each["name"]) == (kind, name))
        expressions: dict[str, Any] = found["expressions"]
        return expressions
