"""The parts of a window's trips, and the files that each part is exported to."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

AVERAGES_PATTERN: Final = "averages/pairs_*.csv"
"""The files with the averages of each pair of areas, below the folder of the window's export; always CSV."""


class Split(StrEnum):
    """The parts of a window's trips."""

    TRAIN = "train"
    EVAL = "eval"
    TEST = "test"


class ExamplesFormat(StrEnum):
    """The format of the exported trips, which the ExampleGen reads; also the extension of the files."""

    CSV = "csv"
    PARQUET = "parquet"


def split_pattern(split: str, examples_format: str) -> str:
    """Return the pattern of one split's files below the folder of the window's export."""
    return f"{split}/trips_*.{examples_format}"
