"""The plan of a roll-out, and the document of how it goes on. Pure."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum, unique
from typing import Any, Final, Self

from vertex_airflow.guards import Guard, Reading, Verdict
from vertex_airflow.traffic import WHOLE

_SCHEMA_VERSION: Final = 1
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smhd])")


class PlanError(ValueError):
    """A string is not the plan of a roll-out, or not a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A share of the traffic in percent, and for how many seconds the new model has it."""

    percent: int
    bake_seconds: float


def parse_seconds(text: str) -> float:
    """Return a time such as ``90s``, ``15m``, ``1.5h`` or ``2d`` in seconds.

    Raises:
        PlanError: for any other string.

    """
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise PlanError(f"{text!r} is not a time; write a number with one of the units s, m, h, d, as in 15m")
    return float(found[1]) * _SECONDS[found[2]]


def parse_plan(text: str) -> tuple[Step, ...]:
    """Return the steps of a plan such as ``10:15m 50:15m 100``, or ``100`` for all traffic at once.

    Raises:
        PlanError: naming the step, unless the percentages rise and the last one is 100, without a time.

    """
    steps: list[Step] = []
    for word in text.split():
        percent, colon, time = word.partition(":")
        if not re.fullmatch(r"[0-9]{1,3}", percent) or not 1 <= int(percent) <= WHOLE:
            raise PlanError(f"step {word!r} of the roll-out {text!r} has no share of 1 to 100 percent")
        if steps and int(percent) <= steps[-1].percent:
            raise PlanError(f"step {word!r} of the roll-out {text!r} does not rise; give more than before")
        if bool(colon) is (int(percent) == WHOLE):
            wanted = "the last step ends at once; write 100" if colon else f"write {percent}:15m"
            raise PlanError(f"step {word!r} of the roll-out {text!r}: {wanted}")
        steps.append(Step(percent=int(percent), bake_seconds=parse_seconds(time) if colon else 0.0))
    if not steps or steps[-1].percent != WHOLE:
        raise PlanError(f"the roll-out {text!r} does not end with 100; write one such as 10:15m 50:15m 100")
    return tuple(steps)


@unique
class State(StrEnum):
    """What has become of a roll-out."""

    RUNNING = "running"
    DONE = "done"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """A step as it went: times are seconds since the epoch, `requests` are the new model's in the step.

    One that ended without a step after it was interrupted: its traffic went back.
    """

    percent: int
    began: float
    ended: float | None = None
    requests: int = 0
    guards: tuple[Reading, ...] = ()

    def reading(self, guard: Guard) -> Reading | None:
        """Return what a guard has read in this step, or None."""
        return next((each for each in self.guards if each.guard is guard), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The document of a roll-out. Whatever step it has, the endpoint has had.

    `deployed_at` tells one deployment of a version from a later one; `champion` is the version that guards
    compare with, and is empty where nothing served before.
    """

    endpoint: str
    deployed_model: str
    deployed_at: float
    model: str
    champion: str
    plan: tuple[Step, ...]
    state: State = State.RUNNING
    reason: str = ""
    steps: tuple[StepRecord, ...] = ()

    @property
    def current(self) -> StepRecord | None:
        """The step under way, or the interrupted one; None before the first."""
        return self.steps[-1] if self.steps else None

    def is_of(self, deployed_model: str, deployed_at: float) -> bool:
        """Return whether this is about a deployment, and not about an earlier one of the same version."""
        return self.deployed_model == deployed_model and math.isclose(
            self.deployed_at, deployed_at, abs_tol=1e-3
        )

    def planned(self, percent: int) -> Step:
        """Return the step of the plan with this share."""
        return next(each for each in self.plan if each.percent == percent)

    def after(self, percent: int) -> Step:
        """Return the first step of the plan with a larger share; the last one is of 100."""
        return next(each for each in self.plan if each.percent > percent)

    def begin(self, percent: int, *, now: float) -> Self:
        """Return the document with the step under way ended, and the next one begun."""
        return replace(
            self.end(now=now), steps=(*self.end(now=now).steps, StepRecord(percent=percent, began=now))
        )

    def end(self, *, now: float) -> Self:
        """Return the document with no step under way."""
        if self.current is None or self.current.ended is not None:
            return self
        return replace(self, steps=(*self.steps[:-1], replace(self.current, ended=now)))

    def note(self, readings: tuple[Reading, ...], requests: int | None = None) -> Self:
        """Return the document with what guards have read in the step under way."""
        if self.current is None:
            return self
        read = {each.guard: each for each in (*self.current.guards, *readings)}
        step = replace(
            self.current,
            guards=tuple(read.values()),
            requests=self.current.requests if requests is None else requests,
        )
        return replace(self, steps=(*self.steps[:-1], step))

    def over(self, state: State, reason: str = "", *, now: float) -> Self:
        """Return the document of a roll-out that has ended."""
        return replace(self.end(now=now), state=state, reason=reason)

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Return the roll-out that `to_json` wrote.

        Raises:
            ValueError: for anything else, such as the document of another version of this package.

        """
        try:
            document = json.loads(content)
            if document["schema_version"] != _SCHEMA_VERSION:
                raise ValueError(f"schema_version is {document['schema_version']!r}, not {_SCHEMA_VERSION}")
            return cls(
                endpoint=document["endpoint"],
                deployed_model=document["deployed_model"],
                deployed_at=_seconds(document["deployed_at"]),
                model=document["model"],
                champion=document["champion"] or "",
                plan=tuple(Step(**each) for each in document["plan"]),
                state=State(document["state"]),
                reason=document["reason"],
                steps=tuple(map(_step, document["steps"])),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"this is not a roll-out's document: {type(error).__name__}: {error}") from error

    def to_json(self) -> bytes:
        """Return the document that is kept in the run's folder."""
        document = {
            "schema_version": _SCHEMA_VERSION,
            "endpoint": self.endpoint,
            "deployed_model": self.deployed_model,
            "deployed_at": _iso(self.deployed_at),
            "model": self.model,
            "champion": self.champion or None,
            "plan": [{"percent": each.percent, "bake_seconds": each.bake_seconds} for each in self.plan],
            "state": self.state,
            "reason": self.reason,
            "steps": [
                {
                    "percent": step.percent,
                    "began": _iso(step.began),
                    "ended": None if step.ended is None else _iso(step.ended),
                    "requests": step.requests,
                    "guards": [
                        {
                            "guard": each.guard,
                            "observed": None if math.isnan(each.observed) else each.observed,
                            "allowed": None if math.isnan(each.allowed) else each.allowed,
                            "from": _iso(each.began),
                            "until": _iso(each.until),
                            "verdict": each.verdict,
                        }
                        for each in step.guards
                    ],
                }
                for step in self.steps
            ],
        }
        return json.dumps(document, indent=2).encode()


def _step(document: dict[str, Any]) -> StepRecord:
    return StepRecord(
        percent=document["percent"],
        began=_seconds(document["began"]),
        ended=None if document["ended"] is None else _seconds(document["ended"]),
        requests=document["requests"],
        guards=tuple(
            Reading(
                guard=Guard(each["guard"]),
                observed=math.nan if each["observed"] is None else each["observed"],
                allowed=math.nan if each["allowed"] is None else each["allowed"],
                began=_seconds(each["from"]),
                until=_seconds(each["until"]),
                verdict=Verdict(each["verdict"]),
            )
            for each in document["guards"]
        ),
    )


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds")


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
