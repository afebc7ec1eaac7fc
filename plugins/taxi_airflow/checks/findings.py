"""What preflight finds, and the table that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from vertex_airflow.polling import ErrorKind, classify

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Outcome(StrEnum):
    """How a check ended; UNREACHED means that asking again may answer."""

    OK = "ok"
    PROBLEM = "PROBLEM"
    UNREACHED = "UNREACHED"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the table: what was looked at, what is so, and for a problem what to do."""

    outcome: Outcome
    subject: str
    text: str
    remedy: str = ""

    @property
    def failed(self) -> bool:
        """Whether a run must not start."""
        return self.outcome in {Outcome.PROBLEM, Outcome.UNREACHED}


def ok(subject: str, text: str) -> Finding:
    """Return a finding that lets a run start."""
    return Finding(outcome=Outcome.OK, subject=subject, text=text)


def problem(subject: str, text: str, remedy: str) -> Finding:
    """Return a finding that does not, with what to do about it."""
    return Finding(outcome=Outcome.PROBLEM, subject=subject, text=text, remedy=remedy)


_REMEDIES: Mapping[ErrorKind, str] = {
    ErrorKind.TRANSIENT: "try again; if it stays, look at the service's status and the connection's endpoint",
    ErrorKind.DENIED: "give the connection's account the role that docs/composer.md names, or enable the API",
    ErrorKind.MISSING: "create it, or mend the setting that names it",
}


def failure(subject: str, error: Exception) -> Finding:
    """Return what an exception of a check says: unreached when asking again may help, else a problem."""
    # A lost connection is an OSError of the requests library.
    verdict = ErrorKind.TRANSIENT if isinstance(error, OSError) else classify(error)
    first = next(iter(str(error).splitlines()), "") or type(error).__name__
    return Finding(
        outcome=Outcome.UNREACHED if verdict is ErrorKind.TRANSIENT else Outcome.PROBLEM,
        subject=subject,
        text=f"{type(error).__name__}: {first}",
        remedy=_REMEDIES.get(verdict, "mend what the message names"),
    )


def table(findings: Iterable[Finding]) -> str:
    """Return the findings as aligned lines, each problem followed by what to do."""
    found = list(findings)
    width = max((len(each.subject) for each in found), default=0)
    label = max(map(len, Outcome))
    lines = []
    for each in found:
        lines.append(f"{each.outcome:<{label}}  {each.subject:<{width}}  {each.text}")
        if each.remedy:
            lines.append(f"{'':<{label}}  {'':<{width}}  → {each.remedy}")
    return "\n".join(lines)
