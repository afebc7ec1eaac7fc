"""Runs a compile request's pipeline with TFX's LocalDagRunner: `… local_dag_runner <folder>`.

The folder holds request.json and parameters.json.

In one process of the pipeline environment, imports included, as a person would run it there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tfx import v1 as tfx

from taxi_ml.pipeline.definition import build_pipeline
from taxi_ml.pipeline.request import CompileRequest


def main(folder: str) -> None:
    """Run the pipeline below `folder`, which holds no cached results."""
    request = CompileRequest.parse(Path(folder, "request.json").read_text())
    values = json.loads(Path(folder, "parameters.json").read_text())
    pipeline = build_pipeline(request, values, modules=Path(request.modules_uri), root=f"{folder}/root")
    pipeline.metadata_connection_config = tfx.orchestration.metadata.sqlite_metadata_connection_config(
        f"{folder}/metadata.db"
    )
    tfx.orchestration.LocalDagRunner().run(pipeline)


if __name__ == "__main__":
    main(*sys.argv[1:])
