"""The table of pair averages: what trips between two areas took, as of the end of the model's window.

The Trainer saves it beside the model, and the server looks it up. Like `profiles`, this module imports no
other of the product.
"""

from __future__ import annotations

import csv
import io
from typing import IO, TYPE_CHECKING, Final, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

FILE: Final = "assets.extra/averages.npz"

AREAS: Final = ("pickup_census_tract", "dropoff_census_tract")
NAMES: Final = (
    "historical_tripDuration",
    "histOneWeek_tripDuration",
    "historical_tripDistance",
    "histOneWeek_tripDistance",
)
"""Seconds, seconds, miles and miles, as in the dataset."""

MISSING: Final = -1.0
"""An average over no trips."""


class PairAverages:
    """Averages by pair of areas; 800 areas have at most 640,000 pairs, which take 20 MB."""

    def __init__(self, pairs: NDArray[np.int64], averages: NDArray[np.float32]) -> None:
        """Take areas, [pairs, 2], and their averages in the order of `NAMES`, [pairs, 4].

        Raises:
            ValueError: for other shapes, and for a pair that is there twice.

        """
        if pairs.shape[1:] != (len(AREAS),) or averages.shape != (len(pairs), len(NAMES)):
            raise ValueError(f"pairs have the shape {pairs.shape} and averages {averages.shape}")
        self._areas = np.unique(pairs)
        codes = self._codes(pairs)
        order = np.argsort(codes)
        self._known, self._pairs, self._averages = codes[order], pairs[order], averages[order]
        if (self._known[1:] == self._known[:-1]).any():
            raise ValueError("the averages of a pair are there twice; export them again")

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self._known)

    @classmethod
    def read(cls, files: Iterable[Iterable[str]]) -> Self:
        """Read CSV files with a header, as BigQuery exports them.

        Raises:
            KeyError, ValueError: for a file without the columns, or with something other than numbers.

        """
        rows = [row for lines in files for row in csv.DictReader(lines)]
        pairs = [[int(row[name]) for name in AREAS] for row in rows]
        averages = [[float(row[name]) for name in NAMES] for row in rows]
        return cls(
            np.array(pairs, np.int64).reshape(-1, len(AREAS)),
            np.array(averages, np.float32).reshape(-1, len(NAMES)),
        )

    @property
    def content(self) -> bytes:
        """The table as a file of compressed NumPy arrays."""
        file = io.BytesIO()
        np.savez_compressed(file, pairs=self._pairs, averages=self._averages)
        return file.getvalue()

    @classmethod
    def load(cls, file: IO[bytes]) -> Self:
        """Read what `content` returned.

        Raises:
            OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile: if it is not that.

        """
        with np.load(file, allow_pickle=False) as arrays:
            return cls(arrays["pairs"], arrays["averages"])

    def find(self, pairs: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the averages of pairs, [n, 2], as [n, 4]; those of an unknown pair are missing."""
        found = np.full((len(pairs), len(NAMES)), MISSING, np.float32)
        if len(self):
            codes = self._codes(pairs)
            places = np.minimum(np.searchsorted(self._known, codes), len(self) - 1)
            is_known = (self._known[places] == codes) & np.isin(pairs, self._areas).all(axis=1)
            found[is_known] = self._averages[places[is_known]]
        return found

    def _codes(self, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number pairs of known areas; a pair with an unknown one gets any number."""
        pickup, dropoff = np.searchsorted(self._areas, pairs).T
        codes: NDArray[np.int64] = pickup * (len(self._areas) + 1) + dropoff
        return codes
