"""Shuffle folders of CSV files with a column `row` into four shards each; for the pipeline environment.

`… shuffled FOLDER` prints, by the name of each folder below it, the rows of its shards, in order, and how
many bytes more than before the process used at most; or the error.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from taxi_ml.pipeline.batched_examples import UnreadableInputError, write_shuffled
from taxi_ml.pipeline.csv_examples import CsvRows
from tests.pipeline.examples_of import examples


def peak() -> int:
    """Return the peak memory of this process in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def shuffled(source: Path) -> dict[str, Any]:
    """Shuffle one folder."""
    with tempfile.TemporaryDirectory() as folder:
        before = peak()
        files = [str(path) for path in sorted(source.glob("*.csv"))]
        try:
            write_shuffled(CsvRows(files), folder, shards=4)
        except (UnreadableInputError, pa.ArrowInvalid) as error:
            return {"error": str(error)}
        used = peak() - before
        names = sorted(path.name for path in Path(folder).iterdir())
        shards = [[example["row"][1][0] for example in examples(Path(folder), name)] for name in names]
        return {"bytes": used, "shards": shards}


def main() -> None:
    """Shuffle, and print the results."""
    folders = sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir())
    print(json.dumps({folder.name: shuffled(folder) for folder in folders}))  # noqa: T201  # its answer


if __name__ == "__main__":
    main()
