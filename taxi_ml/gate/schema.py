"""Differences between the schema that SchemaGen infers from a run's trips and the reviewed one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taxi_ml.gate.fields import Fields


class Change(StrEnum):
    """The kinds of differences of a column."""

    NEW = "new"
    MISSING = "missing"
    TYPE = "type"
    PRESENCE = "presence"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaDifference:
    """One difference; `reviewed` and `inferred` are empty if that schema lacks the column."""

    feature: str
    change: Change
    reviewed: str
    inferred: str

    def __str__(self) -> str:
        """Return the difference as one line."""
        return (
            f"{self.change} {self.feature}: {self.inferred or 'nothing'} in the trips, "
            f"{self.reviewed or 'nothing'} in the reviewed schema"
        )


def schema_difference(fields: Fields) -> SchemaDifference:
    """Read a difference."""
    return SchemaDifference(
        feature=fields.text("feature"),
        change=fields.choice("change", Change),
        reviewed=fields.text("reviewed"),
        inferred=fields.text("inferred"),
    )
