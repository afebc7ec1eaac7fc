"""A pipeline over hand-made trips that TFX itself runs, once for all tests of this folder."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from taxi_ml.gate.champion import Champion
from tests.pipeline.requests import ANCHOR, PIPELINE_PYTHON, REPOSITORY, make_parameters, make_request
from tests.pipeline.trips import write_trips

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pipeline over hand-made trips."""
    folder = tmp_path_factory.mktemp("trained")
    write_trips(folder / "data")
    return folder


@pytest.fixture(scope="session")
def facts(root: Path) -> dict[str, Any]:
    """The results of a whole pipeline that TFX itself ran."""
    request = make_request(root)
    (root / "request.json").write_text(request.to_json())
    anchor = Champion(name=ANCHOR.name, uri=f"{root}/anchor")
    values = make_parameters(root, anchor=anchor).values(request)
    (root / "parameters.json").write_text(json.dumps(values))
    with (root / "run.log").open("wb") as log:
        subprocess.run(
            [PIPELINE_PYTHON, "-m", "tests.pipeline.run_and_probe", root / "request.json", root],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "-1"},
            check=True,
            stdout=log,
            stderr=log,
            timeout=500,
        )
    found: dict[str, Any] = json.loads((root / "facts.json").read_text())
    return found
