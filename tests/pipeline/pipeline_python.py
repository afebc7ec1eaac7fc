"""Make examples, which only the pipeline environment can."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

from tests.pipeline.requests import PIPELINE_PYTHON, REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path


def examples_of(folder: Path, *readers: str) -> dict[str, Any]:
    """Return each reader's examples of the exports in a folder; see the module of the same name."""
    run("tests.pipeline.examples_of", folder, *readers)
    found: dict[str, Any] = json.loads((folder / "examples.json").read_text())
    return found


def run(module: str, folder: Path, *arguments: str) -> str:
    """Run a module on a folder, which gets its log; return what it printed."""
    with (folder / "log").open("wb") as log:
        return subprocess.run(
            [PIPELINE_PYTHON, "-m", module, folder, *arguments],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "-1"},
            check=True,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            timeout=300,
        ).stdout
