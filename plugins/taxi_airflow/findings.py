"""The findings of preflight, and the table that shows them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from vertex_airflow.polling import ErrorKind, classify

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Status(StrEnum):
    """The result of a check; UNREACHED means that another try may get an answer."""

    OK = "ok"
    PROBLEM = "PROBLEM"
    UNREACHED = "UNREACHED"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the table: the subject, what was found, and the remedy of a problem."""

    status: Status
    subject: str
    text: str
    remedy: str = ""

    @property
    def failed(self) -> bool:
        """True if the run must not start."""
        return self.status in {Status.PROBLEM, Status.UNREACHED}


def ok(subject: str, text: str) -> Finding:
    """Return a finding that lets the run start."""
    return Finding(status=Status.OK, subject=subject, text=text)


def problem(subject: str, text: str, remedy: str) -> Finding:
    """Return a finding that stops the run, with its remedy."""
    return Finding(status=Status.PROBLEM, subject=subject, text=text, remedy=remedy)


_REMEDIES: Mapping[ErrorKind, str] = {
    ErrorKind.TRANSIENT: "try again; if it persists, check the service's status and the endpoint",
    ErrorKind.DENIED: "grant the account the role that docs/composer.md names, or enable the API",
    ErrorKind.MISSING: "create it, or fix the setting that names it",
}


def failure(subject: str, error: Exception) -> Finding:
    """Return the finding for a check's exception: unreached if another try may help, else a problem."""
    # The requests library raises an OSError when a connection is lost.
    verdict = ErrorKind.TRANSIENT if isinstance(error, OSError) else classify(error)
    first = next(iter(str(error).splitlines()), "") or type(error).__name__
    return Finding(
        status=Status.UNREACHED if verdict is ErrorKind.TRANSIENT else Status.PROBLEM,
        subject=subject,
        text=f"{type(error).__name__}: {first}",
        remedy=_REMEDIES.get(verdict, "fix what the message names"),
    )


def table(findings: Iterable[Finding]) -> str:
    """Return the findings as aligned lines, each problem followed by its remedy."""
    found = list(findings)
    width = max((len(each.subject) for each in found), default=0)
    label = max(map(len, Status))
    lines = []
    for each in found:
        lines.append(f"{each.status:<{label}}  {each.subject:<{width}}  {each.text}")
        if each.remedy:
            lines.append(f"{'':<{label}}  {'':<{width}}  → {each.remedy}")
    return "\n".join(lines)
