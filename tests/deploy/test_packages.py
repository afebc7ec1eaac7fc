from __future__ import annotations

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from deploy.composer.packages import PackagesError, listed, locked, missing, wanted

COMPOSER = {"apache-airflow": Version("3.3.1+composer"), "jinja2": Version("3.1.6")}
LOCK = {"jinja2": Version("3.1.9"), "requests": Version("2.33.0")}


def test_what_composer_has_is_left() -> None:
    """A release within the bounds is not replaced by the lock's."""
    assert missing(["apache-airflow>=3.3", "Jinja2>=3.1"], COMPOSER, LOCK) == []


def test_what_is_missing_comes_from_the_lock() -> None:
    """A missing package is installed in the release that was tested."""
    assert missing(["requests>=2"], COMPOSER, LOCK) == ["requests==2.33.0"]


def test_what_is_too_old_comes_from_the_lock() -> None:
    """A release below the bound is replaced."""
    assert missing(["jinja2>=3.1.8"], COMPOSER, LOCK) == ["jinja2==3.1.9"]


@pytest.mark.parametrize("installed", [{}, {"apache-airflow": Version("3.2.0")}])
def test_an_environment_that_cannot_be_mended_is_refused(installed: dict[str, Version]) -> None:
    """Airflow itself comes with the environment's image; an empty list is a command that failed."""
    with pytest.raises(PackagesError, match=r"upgrade its image|listed no packages"):
        missing(["apache-airflow>=3.3"], installed, LOCK)


def test_the_list_of_pip_is_read() -> None:
    """Headings and notices are not packages; names are compared in their canonical form."""
    lines = [
        "Package    Version",
        "---------- -------",
        "Jinja2     3.1.6",
        "a_b        1.0+composer",
        "",
        "note:",
    ]

    assert listed(lines) == {"jinja2": Version("3.1.6"), "a-b": Version("1.0+composer")}


def test_every_bound_holds_in_the_lock() -> None:
    """requirements.txt has every wanted package, in a release that satisfies its bound."""
    lock = locked()

    requirements = [Requirement(line) for line in wanted()]

    assert [
        str(each) for each in requirements if lock[canonicalize_name(each.name)] not in each.specifier
    ] == []
