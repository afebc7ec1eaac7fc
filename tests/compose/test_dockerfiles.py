"""Tests of the Dockerfiles as they are written: builds need an engine, and `make test-compose` runs them."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import pytest
import yaml

REPOSITORY: Final = Path(__file__).parents[2]
COPY: Final = re.compile(r"(?m)^COPY (?!--from)(.+)$")
DOCKERFILES: Final = sorted((REPOSITORY / "deploy" / "docker").glob("*.Dockerfile"))
COPIED: Final = [
    pytest.param(source, id=f"{file.stem}-{source}")
    for file in DOCKERFILES
    for copied in COPY.findall(file.read_text())
    for source in copied.split()[:-1]
]
PATTERNS: Final = (REPOSITORY / ".dockerignore").read_text().split()


def in_context(path: str) -> bool:
    """Return True if .dockerignore keeps a path in the build's context: the last match counts."""
    around = [path, *map(str, Path(path).parents)][:-1]
    included = True
    for pattern in PATTERNS:
        if any(fnmatchcase(each, pattern.removeprefix("!").removeprefix("**/")) for each in around):
            included = pattern.startswith("!")
    return included


@pytest.mark.parametrize("source", COPIED)
def test_what_is_copied_is_there(source: str) -> None:
    """Each source of a COPY exists in the repository, and .dockerignore keeps it in the context."""
    assert (REPOSITORY / source).exists()
    assert in_context(source)


def test_nothing_else_is_in_the_context() -> None:
    """A build does not send environments, state and history to the engine."""
    assert not any(
        map(in_context, (".venv", ".pipeline", ".local", ".git", "tests", "docs", "deploy/terraform"))
    )


def test_every_exception_of_the_context_is_copied() -> None:
    """.dockerignore lets in only what a Dockerfile copies."""
    sources = [f"{param.values[0]}/" for param in COPIED]
    allowed = [f"{pattern[1:]}/" for pattern in PATTERNS if pattern.startswith("!")]
    unused = [each for each in allowed if not any(source.startswith(each) for source in sources)]

    assert unused == []


def test_compose_builds_from_dockerfiles_that_exist() -> None:
    """Each service that is built names a Dockerfile of the repository and one of its stages."""
    services = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text())["services"].values()
    builds = [service["build"] for service in services if "build" in service]

    assert builds
    for build in builds:
        text = (REPOSITORY / build["dockerfile"]).read_text()
        assert build.get("target", "") in ("", *re.findall(r"(?m)^FROM .* AS (\S+)$", text))


def test_what_is_mounted_is_there() -> None:
    """Each folder and file that a service mounts from the repository exists: Docker would create a folder."""
    services = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text())["services"].values()
    mounted = {
        volume.partition(":")[0]
        for service in services
        for volume in service.get("volumes", ())
        if volume.startswith("./")
    }

    assert mounted
    assert {path for path in mounted if not (REPOSITORY / path).exists()} == set()
