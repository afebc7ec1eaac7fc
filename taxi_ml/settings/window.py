"""The months that a run trains and tests on, and the sizes of their splits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from taxi_ml.rules import Rule, between, matches
from taxi_ml.splits import ExamplesFormat

AUTO_MONTHS: Final = 0
"""The number of test months, `auto` in words, that stands for one that the number of trips decides."""


_MONTHS: Final = between(1, 240, "months; training ends where testing begins, so they never overlap")
_TEST_MONTHS: Final = Rule(
    between(AUTO_MONTHS, 240, "").accepts,
    f"{_MONTHS.remedy}; or auto, to let the number of trips decide",
    words={"auto": AUTO_MONTHS},
)
_MOST_ROWS: Final = between(0, 10**12, "rows; 0 takes all of them")


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """Lengths of the window in months, and the most rows of a split."""

    __slots__ = ()

    train_months: Annotated[int, _MONTHS] = 24
    test_months: Annotated[int, _TEST_MONTHS] = AUTO_MONTHS
    """`AUTO_MONTHS` until the first task of a run has chosen a number; see `taxi_ml.months`."""
    eval_percent: Annotated[int, between(1, 50, "percent of the training window")] = 5
    max_train_rows: Annotated[int, _MOST_ROWS] = 1_500_000
    """If there are more, the run trains on a sample of about this size; the eval split shrinks with it."""
    max_test_rows: Annotated[int, _MOST_ROWS] = 300_000
    examples_format: Annotated[
        str, matches("|".join(ExamplesFormat), f"choose one of {', '.join(ExamplesFormat)}")
    ] = ExamplesFormat.CSV.value
