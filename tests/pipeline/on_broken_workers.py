"""Run an ExampleGen on pools of workers that cannot work, and write how each run ended.

Runs in the pipeline environment, by `tests.pipeline.workers`: FOLDER holds data/ and gets errors.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.taxi_pipeline.example_gen import Reader, generate
from tests.pipeline.on_workers import write_parquet
from tests.pipeline.workers import beam_args


def main(folder: Path, *pools: str) -> None:
    """Run on one pool after the other."""
    write_parquet(folder / "data", folder / "parquet")
    errors = [ending(folder, pool) for pool in pools]
    (folder / "errors.json").write_text(json.dumps(errors))


def ending(folder: Path, pool: str) -> str:
    """Return the error that a run ends with; empty if there is none."""
    target = folder / pool.replace(":", "-")
    try:
        generate(Reader.PARQUET, folder / "parquet", target, beam_args(pool))
    except Exception as error:  # noqa: BLE001  # any error that a person would see
        return str(error)
    return ""


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
