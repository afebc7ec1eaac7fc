"""Runs a compile request's pipeline with TFX's LocalDagRunner: `… local_dag_runner <request.json> <folder>`.

In one process of the pipeline environment, imports included, as a person would run it there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tfx import v1 as tfx

from taxi_ml.pipeline.definition import build_pipeline
from taxi_ml.pipeline.request import CompileRequest


def main(request_path: str, folder: str) -> None:
    """Run the pipeline below `folder`, which nothing was cached in."""
    request = CompileRequest.parse(Path(request_path).read_text())
    pipeline = build_pipeline(request, modules=Path(request.modules_uri), root=f"{folder}/root")
    pipeline.metadata_connection_config = tfx.orchestration.metadata.sqlite_metadata_connection_config(
        f"{folder}/metadata.db"
    )
    tfx.orchestration.LocalDagRunner().run(pipeline)


if __name__ == "__main__":
    main(*sys.argv[1:])
