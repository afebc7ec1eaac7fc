"""The packages that a Composer environment lacks.

Composer pins what it ships, and installing another release over it breaks environments; so nothing is named
that it has in a release that will do.
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
    """An environment cannot be given what it lacks."""


def missing(
    requirements: Iterable[str], installed: Mapping[str, Version], lock: Mapping[str, Version]
) -> list[str]:
    """Return `name==version` for what is not installed or too old, at the lock's version.

    Raises:
        PackagesError: when Airflow itself is too old, or nothing is installed at all.

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
    """Return what the product imports in Airflow's processes, with lower bounds."""
    return [line for line in WANTED.read_text().splitlines() if line and not line.startswith("#")]


def locked() -> dict[str, Version]:
    """Return the releases of requirements.txt, whose pins begin their lines."""
    pins = [line.split()[0].partition("==") for line in LOCK.read_text().splitlines() if line[:1].isalnum()]
    return {canonicalize_name(name): Version(version) for name, _, version in pins}


def listed(lines: Iterable[str]) -> dict[str, Version]:
    """Return the releases in what `pip list` prints."""
    rows = [line.split() for line in lines]
    return {
        canonicalize_name(row[0]): Version(row[1]) for row in rows if len(row) > 1 and row[1][:1].isdigit()
    }
