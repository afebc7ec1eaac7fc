"""One run as its folder tells it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from taxi_ml.gate import kept, report
from taxi_ml.gate.decision import Verdict
from taxi_ml.record import answers, rollout
from taxi_ml.record.documents import opened
from taxi_ml.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from taxi_ml.gate.decision import Decision
    from taxi_ml.gate.report import Report
    from taxi_ml.record.answers import Approval, GoldenCheck
    from taxi_ml.record.rollout import Rollout

_RUN_SCHEMA_VERSION: Final = 1
DOCUMENTS: Final = (
    "run.json",
    "report.json",
    "decision.json",
    "approval.json",
    "golden_check.json",
    "rollout.json",
)
"""What a run's folder may hold that its record is made of."""

Read = TypeVar("Read")


class Outcome(StrEnum):
    """What became of a run's model, as far as the documents tell."""

    UNDECIDED = "undecided"
    REJECTED = "rejected"
    UNCHANGED = "unchanged"
    EVALUATED = "evaluated only"
    DECLINED = "declined"
    ACCEPTED = "accepted"
    ROLLING_OUT = "rolling out"
    ROLLED_BACK = "rolled back"
    PROMOTED = "promoted"


GOES_ON: Final = frozenset({Outcome.UNDECIDED, Outcome.ACCEPTED, Outcome.ROLLING_OUT})
"""Another document of the run may still change these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedRun:
    """What run.json says: which DAG run it is, the months, and what the form asked for."""

    dag_id: str
    run_id: str
    run_after: str
    window: Window
    promotes: bool
    compares: bool
    project: str
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run and what is known about it; `problems` names the documents that could not be read, and why.

    `decided_at` is when decision.json was written, `job` the resource name of the pipeline job that trained.
    """

    run: PinnedRun
    report: Report | None = None
    decision: Decision | None = None
    approval: Approval | None = None
    golden: GoldenCheck | None = None
    rollout: Rollout | None = None
    decided_at: datetime | None = None
    job: str = ""
    problems: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """What became of the model."""
        if self.decision is None:
            return Outcome.UNDECIDED
        if self.decision.verdict is not Verdict.PROMOTE:
            rejected = self.decision.verdict is Verdict.REJECT
            return Outcome.REJECTED if rejected else Outcome.UNCHANGED
        if not self.run.promotes:
            return Outcome.EVALUATED
        if self.approval is not None and self.approval.answer is not answers.Answer.APPROVE:
            return Outcome.DECLINED
        if self.rollout is None:
            return Outcome.ACCEPTED
        return _BY_STATE[self.rollout.state]

    @property
    def months(self) -> str:
        """The test months in words, such as `June 2015` or `May to June 2015`."""
        return months_in_words(self.run.window)


_BY_STATE: Final = {
    rollout.State.RUNNING: Outcome.ROLLING_OUT,
    rollout.State.DONE: Outcome.PROMOTED,
    rollout.State.ROLLED_BACK: Outcome.ROLLED_BACK,
}


def read_record(
    documents: Mapping[str, bytes], *, decided_at: datetime | None = None, job: str = ""
) -> RunRecord:
    """Return the record of a run from its documents by name; all but run.json may be missing.

    One that cannot be read counts as missing, and is named in the record's problems.

    Raises:
        ValueError: if run.json is missing or cannot be read.

    """
    if "run.json" not in documents:
        raise ValueError("the folder has no run.json: no run was pinned there")
    problems: list[str] = []

    def read(name: str, reader: Callable[[bytes], Read]) -> Read | None:
        if name not in documents:
            return None
        try:
            return reader(documents[name])
        except ValueError as error:
            problems.append(f"{name} cannot be read: {error}")
            return None

    return RunRecord(
        run=read_run(documents["run.json"]),
        report=read("report.json", report.parse),
        decision=read("decision.json", kept.parse),
        approval=read("approval.json", answers.parse_approval),
        golden=read("golden_check.json", answers.parse_golden_check),
        rollout=read("rollout.json", rollout.parse_rollout),
        decided_at=decided_at,
        job=job,
        problems=tuple(problems),
    )


def read_run(content: bytes) -> PinnedRun:
    """Read what a record needs of run.json, whose settings may be those of another version.

    Raises:
        ValueError: if that is not there, or not of the right type.

    """
    opened(content, "run.json", version=_RUN_SCHEMA_VERSION)
    try:
        document = json.loads(content)
        params, settings = document["params"], document["settings"]
        return PinnedRun(
            dag_id=str(document["dag_id"]),
            run_id=str(document["run_id"]),
            run_after=str(document["run_after"]),
            window=Window.ending(
                document["window_end"],
                train_months=int(settings["train_months"]),
                test_months=int(settings["test_months"]),
            ),
            promotes=bool(params.get("promote", True)),
            compares=bool(params.get("compare", True)),
            project=str(settings["project"]),
            region=str(settings["region"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"run.json cannot be read: {type(error).__name__}: {error}") from error


def months_in_words(window: Window) -> str:
    """Return the test months, such as `June 2015`, `May to June 2015` or `December 2014 to May 2015`."""
    first, last = window.test_start, window.with_test_months(1).test_start
    if first == last:
        return f"{last:%B %Y}"
    return f"{first:%B %Y} to {last:%B %Y}" if first.year != last.year else f"{first:%B} to {last:%B %Y}"
