"""Waits for a custom job as a task and its trigger do, with the connection's key; prints the ending."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from taxi_airflow.hooks.async_vertex import Access
from taxi_airflow.triggers.vertex_job import VertexJobTrigger

WHERE: dict[str, Any] = {"gcp_conn_id": "google_cloud_default", "region": "us-central1"}
JOB: Any = {
    "display_name": "job",
    "job_spec": {"worker_pool_specs": [{"container_spec": {"image_uri": "image"}, "replica_count": 1}]},
}


async def _first_event(trigger: VertexJobTrigger) -> Any:  # noqa: ANN401  # JSON
    async for event in trigger.run():
        return event.payload
    return None


def main() -> None:
    """Create a job and wait for it."""
    hook = Access(**WHERE).hook()
    created = hook.jobs.create_custom_job(parent=hook.location, custom_job=JOB)
    trigger = VertexJobTrigger(
        kind="custom", name=created.name, shortest=0.1, longest=0.1, settle=0.0, **WHERE
    )
    sys.stdout.write(f"{json.dumps(asyncio.run(_first_event(trigger)))}\n")


if __name__ == "__main__":
    main()
