"""How a roll-out went, and who gave the traffic back, read from rollout.json and roll_back.json."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from taxi_ml.record.documents import DocumentError, opened

if TYPE_CHECKING:
    from taxi_ml.gate.fields import Fields

_SCHEMA_VERSION: Final = 1


class State(StrEnum):
    """What has become of a roll-out."""

    RUNNING = "running"
    DONE = "done"
    ROLLED_BACK = "rolled_back"


class GuardVerdict(StrEnum):
    """What a guard last said about a step."""

    PASSED = "passed"
    BREACHED = "breached"
    NO_DATA = "no_data"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """A share of the traffic in percent, and for how many seconds the new model is to have it."""

    percent: int
    bake_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardReading:
    """What a guard observed between two times, and what it allows; None where there is no number."""

    guard: str
    observed: float | str | None
    allowed: float | str | None
    since: datetime | None
    until: datetime | None
    verdict: GuardVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step as it went; `ended` is None while it goes on, `requests` are the new model's."""

    percent: int
    began: datetime
    ended: datetime | None
    requests: int
    guards: tuple[GuardReading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A roll-out of `model`, a resource name with version; `champion` is None if nothing served before."""

    endpoint: str
    model: str
    champion: str | None
    plan: tuple[PlannedStep, ...]
    state: State
    reason: str
    steps: tuple[Step, ...]

    @property
    def percent(self) -> int:
        """The share of the traffic that the model has, or had when it was rolled back."""
        return self.steps[-1].percent if self.steps else 0

    @property
    def served_from(self) -> datetime | None:
        """When the model got all of the traffic; None before, and after a roll-back."""
        return self.steps[-1].began if self.state is State.DONE and self.steps else None

    @property
    def next_step(self) -> PlannedStep | None:
        """The step of the plan that follows the last one, while the roll-out goes on."""
        if self.state is not State.RUNNING:
            return None
        return next((each for each in self.plan if each.percent > self.percent), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBack:
    """A person gave the traffic of `endpoint` to the version `model`, away from `away_from`."""

    endpoint: str
    away_from: str
    model: str
    by: str
    reason: str
    at: datetime


def parse_rollout(content: bytes) -> Rollout:
    """Read rollout.json.

    Raises:
        DocumentError: naming what is missing, of the wrong type or of another version.

    """
    fields = opened(content, "rollout.json", version=_SCHEMA_VERSION)
    return Rollout(
        endpoint=fields.text("endpoint"),
        model=fields.text("model"),
        champion=fields.text_or_none("champion") or None,
        plan=fields.read_list("plan", _planned),
        state=fields.choice("state", State),
        reason=fields.text("reason"),
        steps=fields.read_list("steps", _step),
    )


def parse_roll_back(content: bytes) -> RollBack:
    """Read roll_back.json.

    Raises:
        DocumentError: as above.

    """
    fields = opened(content, "roll_back.json", version=_SCHEMA_VERSION)
    return RollBack(
        endpoint=fields.text("endpoint"),
        away_from=fields.text_or_none("from") or "",
        model=fields.text("to"),
        by=fields.text("by"),
        reason=fields.text("reason"),
        at=moment(fields.text("at")),
    )


def moment(text: str) -> datetime:
    """Return a time as in 2015-07-01T12:00:00+00:00.

    Raises:
        DocumentError: for another string, or a time without its zone.

    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise DocumentError(f"{text!r} is not a time; write it as in 2015-07-01T12:00:00+00:00") from error
    if found.tzinfo is None:
        raise DocumentError(f"{text!r} has no time zone; write it as in 2015-07-01T12:00:00+00:00")
    return found


def _planned(fields: Fields) -> PlannedStep:
    return PlannedStep(percent=fields.count("percent"), bake_seconds=fields.number("bake_seconds"))


def _step(fields: Fields) -> Step:
    ended = fields.text_or_none("ended")
    return Step(
        percent=fields.count("percent"),
        began=moment(fields.text("began")),
        ended=moment(ended) if ended else None,
        requests=fields.count("requests"),
        guards=fields.read_list("guards", _guard),
    )


def _guard(fields: Fields) -> GuardReading:
    since, until = fields.text_or_none("from"), fields.text_or_none("until")
    return GuardReading(
        guard=fields.text("guard"),
        observed=fields.scalar_or_none("observed"),
        allowed=fields.scalar_or_none("allowed"),
        since=moment(since) if since else None,
        until=moment(until) if until else None,
        verdict=fields.choice("verdict", GuardVerdict),
    )
