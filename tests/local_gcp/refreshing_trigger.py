"""Waits for a pipeline job as a task and its trigger do, with the connection's key; prints the ending."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from vertex_airflow.hooks.async_vertex import Access
from vertex_airflow.triggers.vertex_job import VertexJobTrigger

WHERE: dict[str, Any] = {"gcp_conn_id": "google_cloud_default", "region": "us-central1"}


async def _first_event(trigger: VertexJobTrigger) -> Any:  # noqa: ANN401  # JSON
    async for event in trigger.run():
        return event.payload
    return None


def main() -> None:
    """Create the job `outlasting` and wait for it."""
    hook = Access(**WHERE).hook()
    job: Any = {
        "display_name": "outlasting",
        "pipeline_spec": json.loads(Path(sys.argv[1]).read_text()),
        "runtime_config": {"gcs_output_directory": "gs://taxi-local/root"},
    }
    created = hook.pipelines.create_pipeline_job(
        parent=hook.location, pipeline_job=job, pipeline_job_id="outlasting"
    )
    trigger = VertexJobTrigger(
        kind="pipeline", name=created.name, shortest=0.1, longest=0.1, settle=0.0, **WHERE
    )
    sys.stdout.write(f"{json.dumps(asyncio.run(_first_event(trigger)))}\n")


if __name__ == "__main__":
    main()
