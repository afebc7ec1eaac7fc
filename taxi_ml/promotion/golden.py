"""golden.json, the trips that a deployed model must answer as it did when it was evaluated."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from taxi_ml.gate.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION: Final = 1
FILE_NAME: Final = "golden.json"
REFIT_FILE: Final = "golden_refit.json"
"""The name of golden.json for the judged model's refit, where a run has one."""


class GoldenError(ValueError):
    """A string is not golden.json of this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenTrip:
    """A prediction instance, the evaluated model's fare for it in USD, and why it was chosen."""

    instance: Mapping[str, float | None]
    fare: float
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """Trips and the fares of a model; `model` is the folder of its SavedModel, ``gs://…``."""

    model: str
    trips: tuple[GoldenTrip, ...]

    def to_json(self) -> str:
        """Return golden.json."""
        rows = [
            {"instance": dict(trip.instance), "fare": trip.fare, "why": list(trip.why)} for trip in self.trips
        ]
        document = {"schema_version": SCHEMA_VERSION, "model": self.model, "rows": rows}
        return json.dumps(document, indent=2, allow_nan=False)

    @classmethod
    def parse(cls, content: str | bytes) -> Self:
        """Read golden.json.

        Raises:
            GoldenError: for another version, and naming what is missing, unknown or of the wrong type.

        """
        fields = fields_of(content, "golden", GoldenError)
        golden = cls(model=fields.text("model"), trips=fields.read_list("rows", _trip))
        fields.close()
        if not golden.trips:
            raise GoldenError("golden.rows is empty; a model that is asked nothing proves nothing")
        return golden


def fields_of(content: str | bytes, place: str, error: type[ValueError]) -> Fields:
    """Return the fields of a JSON object after `schema_version`, which must be this one.

    Raises:
        ValueError: as `error`, for anything else.

    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as problem:
        raise error(f"{place}.json is not valid JSON: {problem}") from problem
    fields = Fields(document, place, error)
    version = fields.count("schema_version")
    if version != SCHEMA_VERSION:
        raise error(f"{place}.schema_version is {version}; this version reads {SCHEMA_VERSION}")
    return fields


def _trip(fields: Fields) -> GoldenTrip:
    return GoldenTrip(
        instance=fields.read("instance", Fields.other_numbers),
        fare=fields.number("fare"),
        why=fields.texts("why"),
    )
