"""The packages that a Composer environment lacks.

Composer pins the packages it ships, and installing other releases over them breaks environments. So only
packages that are missing or too old are named.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REPOSITORY: Final = Path(__file__).resolve().parents[2]
WANTED: Final = REPOSITORY / "deploy" / "composer" / "packages.txt"
LOCK: Final = REPOSITORY / "requirements.txt"
AIRFLOW: Final = "apache-airflow"


class PackagesError(ValueError):
    """The missing packages cannot be determined or installed."""


def missing(
    requirements: Iterable[str], installed: Mapping[str, Version], lock: Mapping[str, Version]
) -> list[str]:
    """Return `name==version`, at the lock's version, for each package that is missing or too old.

    Raises:
        PackagesError: Airflow itself is too old, or no packages were listed.

    """
    if not installed:
        raise PackagesError("gcloud listed no packages of the environment; are its name and region right?")
    lacking = []
    for requirement in map(Requirement, requirements):
        name = canonicalize_name(requirement.name)
        has = installed.get(name)
        if has is not None and requirement.specifier.contains(has, prereleases=True):
            continue
        if name == AIRFLOW:
            raise PackagesError(
                f"the environment has Airflow {has}, {requirement} is needed; upgrade its image first"
            )
        lacking.append(f"{name}=={lock[name]}")
    return lacking


def wanted() -> list[str]:
    """Return the packages that the product imports in Airflow's processes, with lower bounds."""
    return [line for line in WANTED.read_text().splitlines() if line and not line.startswith("#")]


def locked() -> dict[str, Version]:
    """Return the releases that requirements.txt pins, one at the start of a line."""
    pins = [line.split()[0].partition("==") for line in LOCK.read_text().splitlines() if line[:1].isalnum()]
    return {canonicalize_name(name): Version(version) for name, _, version in pins}


def listed(lines: Iterable[str]) -> dict[str, Version]:
    """Return the releases in the output of `pip list`."""
    rows = [line.split() for line in lines]
    return {
        canonicalize_name(row[0]): Version(row[1]) for row in rows if len(row) > 1 and row[1][:1].isdigit()
    }
