"""A model server that answers wrongly in one way; runs in the pipeline environment.

`CORRUPTION` in the environment says how. The rest of the server is the product's.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Self

from taxi_ml.modules.features import DISTANCE, MISSING
from taxi_ml.serving import instances
from taxi_ml.serving.__main__ import main
from taxi_ml.serving.model import ServedModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    Rows = Sequence[Mapping[str, int | float]]

HOW = os.environ["CORRUPTION"]


class Corrupted(ServedModel):
    """The model with another answer, or with another reading of its instances."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Change the weights by a thousandth after loading."""
        served = super().load(folder)
        if HOW == "weights":
            for variable in _of(served).variables:
                if variable.dtype.is_floating:
                    variable.assign(variable * 1.001)
        return served

    def predict(self, rows: Rows) -> list[float]:
        """Answer in the reverse order, or read one feature otherwise."""
        if HOW == "order":
            return super().predict(rows)[::-1]
        if HOW == "unit":
            return super().predict(
                [row | {DISTANCE: _in_kilometers(row[DISTANCE])} for row in map(dict, rows)]
            )
        return super().predict(rows)


class ZeroForMissing(instances.Feature):
    """A feature whose missing value is 0 and not -1."""

    def value(self, instance: Mapping[str, Any], place: str) -> int | float:
        """Return the instance's value."""
        number = super().value(instance, place)
        return 0.0 if number == MISSING else number


def _in_kilometers(meters: float) -> float:
    return meters if meters == MISSING else meters / 1000


def _of(served: ServedModel) -> Any:  # noqa: ANN401  # tensorflow has no types
    return served._signature  # noqa: SLF001  # a corruption


if __name__ == "__main__":
    sys.modules["taxi_ml.serving.model"].ServedModel = Corrupted  # type: ignore[attr-defined]  # a module
    if HOW == "preprocessing":
        instances.Feature = ZeroForMissing  # type: ignore[misc]  # a corruption
    sys.exit(main())
