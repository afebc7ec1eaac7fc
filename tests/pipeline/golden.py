"""Write the goldens of the compiled spec: `.venv/bin/python -m tests.pipeline.golden`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.pipeline.requests import PIPELINE_PYTHON, REPOSITORY, make_request
from tests.taxi_ml.test_dataflow import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taxi_ml.pipeline.request import CompileRequest

GOLDENS = Path(__file__).parent / "goldens"
VARIANTS: dict[str, dict[str, object]] = {
    "first_run.json": {},
    "against_champion_untuned.json": {
        "compares": True,
        "tuner_trials": 0,
        "enable_cache": False,
        "examples_format": "parquet",
        "beam_args": SETTINGS.with_overrides(beam_args="--runner=DataflowRunner").beam_arguments(),
        "resources": (
            "ExampleGen=cpu:8",
            "Transform=memory:32G",
            "Trainer=cpu:8,memory:32G,accelerator:NVIDIA_TESLA_T4x2",
            "Tuner=cpu:2",
        ),
    },
}


# The command itself refuses Dataflow outside of an image that has Beam's worker.
_COMPILE = """
import json, pathlib, sys
from taxi_ml.pipeline.compile import compile_request
from taxi_ml.pipeline.request import CompileRequest
from taxi_ml.storage import Storage
for root in map(pathlib.Path, sys.argv[1:]):
    request = CompileRequest.parse((root / "request.json").read_text())
    (root / "pipeline.json").write_text(json.dumps(compile_request(request, Storage())))
"""


def compile_text(request: CompileRequest, root: Path) -> str:
    """Compile and return the spec, without the parts that change with the modules' content."""
    (text,) = compile_texts({root: request})
    return text


def compile_texts(requests: Mapping[Path, CompileRequest]) -> list[str]:
    """Compile requests by their roots in one process, whose import of TFX takes longer than a few of them."""
    for root, request in requests.items():
        (root / "request.json").write_text(request.to_json())
    subprocess.run(
        [str(PIPELINE_PYTHON), "-c", _COMPILE, *map(str, requests)],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    return [
        normalised((root / "pipeline.json").read_text(), request, root) for root, request in requests.items()
    ]


def normalised(text: str, request: CompileRequest, root: Path) -> str:
    """Replace this machine's folder and the digests by words."""
    for found, word in (
        (request.digest, "<request digest>"),
        (request.modules_digest, "<modules digest>"),
        (str(root), "<root>"),
    ):
        text = text.replace(found, word)
    job = json.loads(re.sub(r"0\.0\+[0-9a-f]{64}", "<wheel version>", text))
    return json.dumps(job, indent=2, sort_keys=True) + "\n"


def main() -> int:
    """Compile every variant anew."""
    GOLDENS.mkdir(exist_ok=True)
    for name, changes in VARIANTS.items():
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder).resolve()
            (GOLDENS / name).write_text(compile_text(make_request(root, **changes), root))
    return 0


if __name__ == "__main__":
    sys.exit(main())
