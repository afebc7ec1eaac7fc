"""The earlier champion that bounds losses over many months, and the numbers by which it is chosen."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taxi_ml.gate.champion import Champion, parse_window
from taxi_ml.gate.metrics import Role, is_finite

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from taxi_ml.gate.report import Report

SKILL_LABEL: Final = "skill"
"""The label of a version with its MAE in thousandths of the baseline's, both on the test rows of its own run.

The ratio says how good a model is for its month, because some months are harder to predict than others.
"""
MONTHS: Final = 12
"""How long a champion may be the anchor: the window that it was trained for ends within so many months."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A version that has served, and its skill; less is better."""

    model: Champion
    skill: int

    @classmethod
    def of(cls, *, name: str, uri: str, labels: Mapping[str, str]) -> Candidate | None:
        """Return the version with these labels, or None if they do not have its skill."""
        skill = labels.get(SKILL_LABEL, "")
        if re.fullmatch("[0-9]{1,9}", skill) is None:
            return None
        return cls(model=Champion.of(name=name, uri=uri, labels=labels), skill=int(skill))

    def months_before(self, window: str) -> int | None:
        """Return how many months earlier than this window its own ends; None if either is not known."""
        own, run = parse_window(self.model.window), parse_window(window)
        return run.months_since(own.end) if own and run else None

    def suits(self, window: str) -> bool:
        """Return True if a run of this window can be compared with it fairly, and it is recent enough."""
        run, months = parse_window(window), self.months_before(window)
        if run is None or months is None:
            return False
        return 1 <= months <= MONTHS and not self.model.has_learned_from(run)


def best_first(candidates: Iterable[Candidate], window: str) -> list[Candidate]:
    """Return the candidates that suit a run of this window, the best first; of equal ones, the newest."""
    return sorted(
        (each for each in candidates if each.suits(window)),
        key=lambda each: (each.skill, each.months_before(window), each.model.name),
    )


def skill(report: Report) -> str:
    """Return the value of the challenger's label, such as 0931; empty if the report has no such ratio."""
    baseline = report.reference(Role.BASELINE)
    ours, theirs = report.challenger.metrics.mae, baseline.metrics.mae if baseline else None
    if not (is_finite(ours) and is_finite(theirs)) or theirs <= 0:
        return ""
    return f"{round(min(1000 * ours / theirs, 9999)):04d}"
