"""The plan of a replay: the runs whose models are scored, one for each month."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Final, Self

SCHEMA_VERSION: Final = 1


class PlanError(ValueError):
    """A string is not a plan of this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMonth:
    """A month's window id, its run's report.json, and the folder of its test examples."""

    window: str
    report: str
    examples: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The months of a replay, the oldest first."""

    months: tuple[PlannedMonth, ...]

    @classmethod
    def of(cls, months: list[PlannedMonth]) -> Self:
        """Return the plan of these months.

        Raises:
            PlanError: for fewer than two months, or two runs of one.

        """
        ordered = tuple(sorted(months, key=lambda month: month.window))
        windows = [month.window for month in ordered]
        if len(windows) < 2 or len(set(windows)) < len(windows):  # noqa: PLR2004  # one has no following month
            raise PlanError(f"a replay needs one run for each of two months or more; these are {windows}")
        return cls(months=ordered)

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read plan.json; raises PlanError."""
        try:
            document = json.loads(text)
            if document["schema_version"] != SCHEMA_VERSION:
                raise PlanError(f"the plan is of version {document['schema_version']}, not {SCHEMA_VERSION}")
            return cls.of([PlannedMonth(**month) for month in document["months"]])
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise PlanError(f"not a plan of a replay: {error!r}") from error

    def to_json(self) -> str:
        """Return plan.json; equal plans give equal strings."""
        document = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}
        return json.dumps(document, indent=2, sort_keys=True)

    @property
    def id(self) -> str:
        """A digest of the plan, which names the folder of its predictions."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]
