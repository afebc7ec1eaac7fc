"""The answers of a run beside the expected ones, as a report to read or to attach to a bug report."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import google.cloud.aiplatform

from local_vertex.evidence import LOCAL, Outcome, checks, shown

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.target import Target


@dataclass(kw_only=True)
class Answers:
    """The answers so far; ``expected`` are those of the local Vertex AI. ``details`` are not compared.

    ``made`` are the names of what the run created.
    """

    expected: dict[str, Any]
    observed: dict[str, Any] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    @classmethod
    def fresh(cls) -> Answers:
        """Return an empty set of answers, with the expected ones."""
        return cls(expected=json.loads(LOCAL.read_text()) if LOCAL.exists() else {})

    def record(self, identity: str, observed: object, detail: str = "") -> None:
        """Keep an answer."""
        self.observed[identity] = json.loads(json.dumps(observed))
        if detail:
            self.details[identity] = detail

    def outcome(self, identity: str) -> Outcome:
        """Compare an answer with the expected one."""
        if identity not in self.observed:
            return Outcome.UNANSWERED
        same = self.observed[identity] == self.expected.get(identity)
        return Outcome.SAME if same else Outcome.DIFFERENT

    def difference(self, identity: str) -> str:
        """Return the expected and the observed answer, as one line."""
        expected, observed = self.expected.get(identity), self.observed[identity]
        return f"{identity}: expected {shown(expected)}, observed {shown(observed)}"

    def report(self, target: Target) -> dict[str, Any]:
        """Return the report; it names neither the project nor the bucket nor the image."""
        rows = [
            asdict(check)
            | {"outcome": self.outcome(check.id), "expected": self.expected.get(check.id)}
            | ({"observed": self.observed[check.id]} if check.id in self.observed else {})
            | ({"detail": redacted(self.details[check.id], target)} if check.id in self.details else {})
            for check in checks()
        ]
        return {
            "cloud": "a server that speaks Vertex AI" if target.endpoint else "Google Cloud",
            "day": datetime.now(UTC).date().isoformat(),
            "region": target.region,
            "transport": target.transport,
            "client": f"google-cloud-aiplatform {google.cloud.aiplatform.__version__}",
            "summary": Counter(str(row["outcome"]) for row in rows),
            "made": Counter(name.split("/")[4] for name in self.made),
            "problems": [redacted(problem, target) for problem in self.problems],
            "checks": rows,
        }

    def write(self, path: Path, target: Target) -> None:
        """Write the report."""
        path.write_text(json.dumps(self.report(target), indent=2, ensure_ascii=False) + "\n")

    def keep_as_expected(self) -> None:
        """Make these answers the expected ones of every later run."""
        LOCAL.parent.mkdir(parents=True, exist_ok=True)
        LOCAL.write_text(json.dumps(self.observed, indent=2, sort_keys=True) + "\n")

    def summary(self) -> str:
        """Return the differences and the numbers, for a terminal."""
        outcomes = {check.id: self.outcome(check.id) for check in checks()}
        lines = []
        for identity, outcome in outcomes.items():
            if outcome is Outcome.DIFFERENT:
                lines.append(self.difference(identity))
            if outcome is Outcome.UNANSWERED:
                lines.append(f"{identity}: no answer")
        counted = Counter(outcomes.values())
        return "\n".join([*lines, ", ".join(f"{counted[outcome]} {outcome}" for outcome in Outcome)])


def redacted(text: str, target: Target) -> str:
    """Return a string without the names of the user's project, bucket and image, and without long numbers.

    Such are the project's and those of machines and operations, also in the addresses of service agents.
    """
    for value, word in ((target.image, "IMAGE"), (target.bucket, "BUCKET"), (target.project, "PROJECT")):
        text = re.sub(rf"(?<![\w-]){re.escape(value)}(?![\w-])", word, text)
    return re.sub(r"\d{6,}", "NUMBER", text.replace(target.run, "RUN"))
