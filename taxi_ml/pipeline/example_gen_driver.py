"""TFX's driver of file-based ExampleGens, with a fingerprint of the files' content in place of their times.

TFX fingerprints sizes and modification times, so that the same rows, exported again, would be new data to
the cache and to all later components.
"""

from __future__ import annotations

import hashlib
import io
import os
from typing import TYPE_CHECKING, BinaryIO

from apache_beam.io.filesystems import FileSystems
from pyarrow import csv, parquet
from tfx.components.example_gen import input_processor
from tfx.dsl.io import fileio
from tfx.orchestration.kubeflow.v2.file_based_example_gen import driver

from taxi_ml.splits import AVERAGES_PATTERN, ExamplesFormat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MODULUS = 1 << 256
_PARQUET = f".{ExamplesFormat.PARQUET}"


class ContentProcessor(input_processor.FileBasedInputProcessor):  # type: ignore[misc]  # tfx has no types
    """Finds the files of all splits; the same lines, in any order and files, are the same data."""

    def get_input_fingerprint(self, span: int, version: int | None) -> str:
        """Return the splits and the pair averages with the number and the digest of their lines.

        The Trainer reads the averages by their address, which a new export does not change. With their
        content in the examples' fingerprint, a model is never taken from the cache with other averages.
        """
        patterns = {f"split:{split.name}": split.pattern for split in self._splits}
        return ",".join(
            f"{name},{lines_fingerprint(self._lines(pattern, span, version))}"
            for name, pattern in {**patterns, "averages": AVERAGES_PATTERN}.items()
        )

    def _lines(self, pattern: str, span: int, version: int | None) -> Iterable[bytes]:
        filled = self.get_pattern_for_span_version(pattern, span, version)
        for path in fileio.glob(os.path.join(self._input_base_uri, filled)):  # noqa: PTH118  # may be gs://
            with FileSystems.open(path) as file:
                yield from parquet_lines(file) if path.endswith(_PARQUET) else file


def parquet_lines(content: BinaryIO) -> Iterator[bytes]:
    """Return the rows of a Parquet file as lines of CSV, the first of which names the columns.

    Its row groups, compression and date do not matter.
    """
    file = parquet.ParquetFile(content)
    yield ",".join(file.schema_arrow.names).encode()
    for batch in file.iter_batches():
        rows = io.BytesIO()
        csv.write_csv(batch, rows, csv.WriteOptions(include_header=False))
        yield from rows.getvalue().splitlines()


def lines_fingerprint(lines: Iterable[bytes]) -> str:
    """Return the number of lines and the sum of their SHA-256 digests, which ignores their order."""
    total, count = 0, 0
    for line in lines:
        total += int.from_bytes(hashlib.sha256(line.rstrip(b"\r\n")).digest(), "big")
        count += 1
    return f"lines:{count},sum_sha256:{total % _MODULUS:064x}"


def main() -> None:
    """Run TFX's driver, which looks up its processor by this name."""
    input_processor.FileBasedInputProcessor = ContentProcessor
    driver.app.run(driver.main, flags_parser=driver._parse_flags)  # noqa: SLF001  # the driver's command line


if __name__ == "__main__":
    main()
