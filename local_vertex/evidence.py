"""Sources of the local Vertex AI's behavior, for each check of `make conformance`."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_CHECKS: Final = Path(__file__).with_name("checks.toml")
FOLDER: Final = Path(__file__).resolve().parents[1] / "docs" / "conformance"
LOCAL: Final = FOLDER / "local.json"
"""The answers of the local Vertex AI, by check; written by `python -m tests.conformance --record`."""
GOOGLE: Final = FOLDER / "google.json"
"""The report of a run on Google Cloud, once one has been contributed."""


class Basis(StrEnum):
    """The source of an expected answer."""

    BELIEF = "unproven"
    DOCUMENTATION = "documentation"
    PROTOS = "protos"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check; ``methods`` are those whose behavior its answer shows, as ``Service.Method``."""

    id: str
    question: str
    methods: tuple[str, ...]
    basis: Basis
    source: str


@cache
def checks() -> tuple[Check, ...]:
    """Return all checks, in the order of the report."""
    rows = tomllib.loads(_CHECKS.read_text())["check"]
    return tuple(
        Check(**{**row, "methods": tuple(row["methods"]), "basis": Basis(row["basis"])}) for row in rows
    )


class Outcome(StrEnum):
    """The result of a check on Google Cloud."""

    SAME = "same"
    DIFFERENT = "different"
    UNANSWERED = "unanswered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known: the local answers, and those of Google Cloud, with the day of that run.

    ``google`` is empty if no report has been contributed.
    """

    local: Mapping[str, Any]
    google: Mapping[str, Any]
    day: str = ""

    @classmethod
    def read(cls, local: Path = LOCAL, google: Path = GOOGLE) -> Evidence:
        """Return the evidence in the files; neither has to exist."""
        report: dict[str, Any] = json.loads(google.read_text()) if google.exists() else {}
        return cls(
            local=json.loads(local.read_text()) if local.exists() else {},
            google={each["id"]: each["observed"] for each in report.get("checks", ()) if "observed" in each},
            day=report.get("day", ""),
        )

    def outcome(self, check: Check) -> Outcome:
        """Compare the answers of both clouds."""
        if check.id not in self.google or check.id not in self.local:
            return Outcome.UNANSWERED
        same = self.google[check.id] == self.local[check.id]
        return Outcome.SAME if same else Outcome.DIFFERENT

    def of_method(self, method: str) -> str:
        """Return where a method's behavior is known from, and which of its checks nothing speaks for."""
        asking = [check for check in checks() if method in check.methods]
        if not asking:
            return "protos; not asked"
        outcomes = {self.outcome(check) for check in asking}
        if outcomes == {Outcome.SAME}:
            return f"proven on Google, {self.day}"
        if Outcome.DIFFERENT in outcomes:
            return "differs from Google: see below"
        open_checks = [check for check in asking if self.outcome(check) is not Outcome.SAME]
        unproven = [check.id for check in open_checks if check.basis is Basis.BELIEF]
        bases = {check.basis for check in open_checks} - {Basis.BELIEF} or {Basis.PROTOS}
        known = ", ".join(sorted(bases))
        return f"{known}; unproven: {', '.join(unproven)}" if unproven else known

    def section(self) -> Iterator[str]:
        """Yield the lines of the page's part about evidence, unproven checks first."""
        yield _HEAD
        unproven = [check for check in checks() if check.basis is Basis.BELIEF]
        yield from self._table("### What could not be settled by reading\n", unproven)
        known = [check for check in checks() if check.basis is not Basis.BELIEF]
        yield from self._table("### What is documented\n", known)

    def _table(self, title: str, asked: Iterable[Check]) -> Iterator[str]:
        yield title
        yield "| Check | Question | Answer here | Known from | On Google |"
        yield "| --- | --- | --- | --- | --- |"
        for check in asked:
            answer = shown(self.local.get(check.id, ""))
            known = f"{check.basis.value}: {check.source}"
            yield f"| {check.id} | {check.question} | `{answer}` | {known} | {self._on_google(check)} |"
        yield ""

    def _on_google(self, check: Check) -> str:
        match self.outcome(check):
            case Outcome.SAME:
                return f"the same, {self.day}"
            case Outcome.DIFFERENT:
                return f"`{shown(self.google[check.id])}`, {self.day}"
            case _:
                return "not tried"


def shown(answer: object) -> str:
    """Return an answer as one line that a Markdown table can hold."""
    text = answer if isinstance(answer, str) else json.dumps(answer, sort_keys=True)
    return text.replace("|", "\\|")


_HEAD: Final = """\
## Sources

The column *Known from* of the tables above gives the source of a method's behavior: *protos*, the comments
and annotations of Google's `google.cloud.aiplatform.v1`; *documentation*, Google's pages or public reports;
*unproven*, only inference from the rest, for the checks that it names. *Proven on Google* means that
`make conformance` ran there and got the same answers in all of the method's checks; *not asked*, that the
method has none.

`make conformance PROJECT=… BUCKET=… IMAGE=…` runs the checks below in your project. Its report,
contributed as `docs/conformance/google.json`, fills the last column.
"""
