"""The pipeline environment, in which modules of the tests run with TFX."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


PIPELINE_PYTHON = REPOSITORY / ".pipeline/bin/python"


def run_in_pipeline_environment(module: str, *args: Path, cwd: Path) -> None:
    """Run a module of the tests with TFX."""
    subprocess.run(
        [PIPELINE_PYTHON, "-m", module, *args],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        cwd=cwd,
    )
