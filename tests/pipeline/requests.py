"""Compile requests for tests, over the repository's own modules."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from taxi_ml.gate import policy
from taxi_ml.gate.champion import Champion
from taxi_ml.pipeline.modules_check import read_modules
from taxi_ml.pipeline.parameters import RunParameters
from taxi_ml.pipeline.request import CompileRequest
from taxi_ml.splits import AVERAGES_PATTERN

REPOSITORY = Path(__file__).parents[2]
MODULES = REPOSITORY / "taxi_ml" / "modules"
SCHEMA = REPOSITORY / "taxi_ml" / "schema.pbtxt"
PIPELINE_PYTHON = REPOSITORY / ".pipeline" / "bin" / "python"
IMAGE = "taxi-vertex/pipeline:local"
CHAMPION = Champion(name="projects/1/locations/us-central1/models/7@2", uri="gs://taxi-local/champion")
ANCHOR = Champion(name="projects/1/locations/us-central1/models/7@1", uri="gs://taxi-local/anchor")


def make_request(root: Path, **changes: Any) -> CompileRequest:  # noqa: ANN401  # fields of several types
    """Put the modules below `root` and return a request for a small pipeline over `root`/data."""
    modules = read_modules(MODULES, SCHEMA)
    folder = root / "modules" / modules.digest
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in modules.files.items():
        (folder / name).write_bytes(content)
    request = CompileRequest(
        pipeline_name="chicago-taxi-fare",
        pipeline_root=f"{root}/pipeline_root",
        modules_uri=str(folder),
        modules_digest=modules.digest,
        compiler="a1",
        image=IMAGE,
        machine_type="n1-standard-4",
        beam_args=("--runner=FnApiRunner", "--direct_num_workers=1", f"--sdk_container_image={IMAGE}"),
        batch_size=64,
        tuner_trials=2,
        tuner_steps=20,
        seed=20,
        enable_cache=True,
    )
    return dataclasses.replace(request, **changes)


def make_parameters(root: Path, **changes: Any) -> RunParameters:  # noqa: ANN401  # as above
    """Return the parameters of a run over the trips in `root`/data for the pipeline of such a request."""
    parameters = RunParameters(
        window="2015-07_train24_test1",
        data_uri=f"{root}/data",
        serving_uri=f"{root}/serving",
        train_steps=200,
        cache_period="2015-07-05",
        anomalies=policy.load().anomalies,
        ranges={"TripStartHour": (0, 23), "rawDistance": (0, 20_015_115)},
        averages=f"{root}/data/{AVERAGES_PATTERN}",
    )
    return dataclasses.replace(parameters, **changes)
